"""Score Parquet files by Spark: spark-submit examples/score_spark.py MODEL FROM TO."""

import sys

from pyspark.sql import SparkSession

from serving.bulk import Scorer

if __name__ == "__main__":
    model, source, target = sys.argv[1:]  # all three on storage that every node sees
    spark = SparkSession.builder.getOrCreate()
    table = spark.read.parquet(source)
    schema = spark.createDataFrame(Scorer(model)(table.limit(0).toArrow())).schema
    scored = table.mapInArrow(lambda batches: map(Scorer(model), batches), schema)
    scored.write.parquet(target)

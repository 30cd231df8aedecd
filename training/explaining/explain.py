"""The first way of explaining a model that can be had, is proven, and does not take too long."""

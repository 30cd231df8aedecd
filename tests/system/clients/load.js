// MLServer's own load test of REST, in its order of calls: the model is loaded, asked by many users
// at once, and unloaded. Shorter: what counts here is that no request fails, not how many there are.
import http from "k6/http";
import { check } from "k6";

const { URL, MODEL } = __ENV;
const REPOSITORY = `${URL}/v2/repository/models/${MODEL}`;
const BODY = JSON.stringify({
  inputs: [{ name: "input-0", shape: [1, 4], datatype: "FP32", data: [1, 2, 3, 4] }],
});

export const options = {
  scenarios: { users: { executor: "shared-iterations", vus: 20, iterations: 400 } },
};

export function setup() {
  check(http.post(`${REPOSITORY}/load`), { loaded: (answer) => answer.status === 200 });
}

export default function () {
  const headers = { "Content-Type": "application/json" };
  const answer = http.post(`${URL}/v2/models/${MODEL}/infer`, BODY, { headers });
  check(answer, { inferred: ({ status }) => status === 200 });
}

export function teardown() {
  check(http.post(`${REPOSITORY}/unload`), { refused: (answer) => answer.status === 400 });
}

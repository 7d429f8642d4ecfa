// A typed client of Guildhall: what to send and what comes back is checked by the compiler. The types come from the API's own document.
//
//   npm install && npm run types && npm run build
//   node -e 'import("./dist/guildhall.js").then((it) => it.walk(process.env.GUILDHALL, process.env.KEY))'
//
// GUILDHALL and KEY are what `make run` prints: the address of the server, and the API key of the demo workspace.

import createClient from "openapi-fetch";
import type { components, paths, webhooks } from "./api.js";

export type Agent = components["schemas"]["Agent"];
export type Run = components["schemas"]["Run"];
export type Problem = components["schemas"]["Problem"];

export function connect(baseUrl: string, key: string) {
  return createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${key}` } });
}

export type Guildhall = ReturnType<typeof connect>;

/** A refusal. Programs branch on `problem.code`. */
export class Refused extends Error {
  constructor(readonly problem: Problem) {
    super(`${problem.code}: ${problem.detail ?? problem.title} (${problem.request_id})`);
  }
}

/** What was answered, or the refusal thrown. */
function taken<T>(answer: { data?: T; error?: Problem }): T {
  if (answer.error) throw new Refused(answer.error);
  return answer.data as T;
}

/** Sells a licence, and asks about it as the customer's software does. */
export async function sell(guildhall: Guildhall, name: string) {
  const product = taken(await guildhall.POST("/api/v1/products", { body: { code: name, name } }));
  const policy = taken(
    await guildhall.POST("/api/v1/policies", {
      body: { product_id: product.id, code: "pro", name: "Pro", max_machines: 2, term_count: 1, term_unit: "year" },
    }),
  );
  const customer = taken(await guildhall.POST("/api/v1/customers", { body: { name: "Ann", metadata: { tier: "gold" } } }));
  const license = taken(
    await guildhall.POST("/api/v1/licenses", {
      params: { header: { "Idempotency-Key": `${name}-1` } },
      body: { policy_id: policy.id, customer: customer.id, metadata: { tier: "gold" } },
    }),
  );

  // The customer's software has its key, and nothing else.
  const headers = { Authorization: `License ${license.key}` };
  const machine = { fingerprint: "4c4c4544-0042", name: "Ann's laptop" };
  const activated = taken(await guildhall.POST("/api/v1/licenses/activate", { headers, body: machine }));
  const verdict = taken(
    await guildhall.POST("/api/v1/licenses/validate", {
      headers,
      body: { nonce: "4f1c9a5e2b", scope: { fingerprint: machine.fingerprint } },
    }),
  );
  if (!verdict.valid) throw new Error(`not valid: ${verdict.code}`);
  return { license, activated, verdict };
}

/** The newest licences of gold customers. */
export async function golden(guildhall: Guildhall) {
  const ids: string[] = [];
  let cursor: string | undefined;
  do {
    const page = taken(
      await guildhall.GET("/api/v1/licenses", {
        params: { query: { metadata: { tier: "gold" }, order: "-created_at", limit: 100, cursor } },
      }),
    );
    ids.push(...page.data.map((license) => license.id));
    cursor = page.next_cursor ?? undefined;
  } while (cursor);
  return ids;
}

/** Makes an agent, changes it, and has it answer. */
export async function ask(guildhall: Guildhall, name: string, say: string): Promise<Run> {
  const made = await guildhall.POST("/api/v1/agents", {
    body: {
      name,
      framework: "openai",
      config: { model: "sandbox", prompt: "{{ input.say }}", temperature: 0.2 },
      metadata: { team: "research" },
    },
  });
  const agent: Agent = taken(made);
  const changed = await guildhall.PATCH("/api/v1/agents/{id}", {
    params: { path: { id: agent.id }, header: { "If-Match": made.response.headers.get("etag") ?? "*" } },
    body: { description: "Says it again.", metadata: { team: null, stage: "trial" } },
  });
  taken(changed);
  return taken(
    await guildhall.POST("/api/v1/agents/{id}/execute", {
      params: { path: { id: agent.id }, query: { wait: 10 } },
      body: { input: { say }, tags: ["example"] },
    }),
  );
}

/** Has events sent to an address, and stops it again. */
export async function listen(guildhall: Guildhall, url: string) {
  const endpoint = taken(
    await guildhall.POST("/api/v1/webhook-endpoints", { body: { url, events: ["agent.created", "license.*"] } }),
  );
  taken(await guildhall.PATCH("/api/v1/webhook-endpoints/{id}", { params: { path: { id: endpoint.id } }, body: { max_in_flight: 2 } }));
  taken(await guildhall.DELETE("/api/v1/webhook-endpoints/{id}", { params: { path: { id: endpoint.id } } }));
  return endpoint.secret;
}

type Sent<Name extends keyof webhooks> = webhooks[Name]["post"]["requestBody"]["content"]["application/json"];

/** What a receiver does with an event whose signature it has verified. `type` tells the compiler what `data` is. */
export function received(event: Sent<"agent.created"> | Sent<"agent.updated"> | Sent<"license.issued">): string {
  switch (event.type) {
    case "agent.created":
      return `${event.data.name} is here`;
    case "agent.updated":
      return `${event.data.name} was ${JSON.stringify(event.previous)}`;
    case "license.issued":
      return `${event.data.id} until ${event.data.expires_at ?? "ever"}`;
  }
}

/** All of it, once. */
export async function walk(baseUrl: string, key: string) {
  const guildhall = connect(baseUrl, key);
  const workspace = taken(await guildhall.GET("/api/v1/workspace"));
  const name = `example-${Date.now()}`;
  const { license, verdict } = await sell(guildhall, name);
  if (!(await golden(guildhall)).includes(license.id)) throw new Error("the licence is not in its list");
  const run = await ask(guildhall, name, "Hello");
  await listen(guildhall, "https://hooks.example.com/guildhall");
  const { error } = await guildhall.POST("/api/v1/products", { body: { code: name, name } });
  if (error?.errors?.[0]?.pointer !== "/code") throw new Error(`the same product twice: ${error?.code}`);
  console.log({ workspace: workspace.name, verdict: verdict.code, run: run.status, output: run.output });
}

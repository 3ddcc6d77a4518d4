// OpenAI's own client for Node.js against a gateway. Called with the gateway's URL, the folder of the packages and the
// name of a case; prints what came of it as one line of JSON.
const { createRequire } = require("node:module");

const [url, packages, name] = process.argv.slice(2);
const OpenAI = createRequire(`${packages}/`)("openai");
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 2 });

function body(content, more) {
  return { model: "default", messages: [{ role: "user", content }], ...more };
}

async function putTogether(stream) {
  const told = { content: "", deltas: 0 };
  for await (const chunk of stream) {
    const [choice] = chunk.choices;
    if (chunk.usage) told.tokens = chunk.usage.total_tokens;
    if (choice?.delta.content) told.deltas += 1;
    told.content += choice?.delta.content ?? "";
    told.finish_reason = choice?.finish_reason ?? told.finish_reason;
    told.answer = chunk.parley?.answer ?? told.answer;
  }
  return told;
}

const cases = {
  async whole() {
    const told = await client.chat.completions.create(body("How long?"));
    return { content: told.choices[0].message.content, tokens: told.usage.total_tokens, verdict: told.parley.verdict };
  },
  async streamed() {
    const more = { stream: true, stream_options: { include_usage: true }, metadata: { tenant: "open" } };
    return putTogether(await client.chat.completions.create(body("How long?", more)));
  },
  async withdrawn() {
    return putTogether(
      await client.chat.completions.create(body("block this", { stream: true, metadata: { tenant: "open" } })),
    );
  },
  async models() {
    const ids = [];
    for await (const model of client.models.list()) ids.push(model.id);
    return { ids, one: (await client.models.retrieve(ids[0])).id };
  },
  async headers() {
    const sent = [];
    const fetch = async (_, { headers }) => {
      sent.push(...new Headers(headers).keys());
      throw new Error("never sent");
    };
    const told = { apiKey: "none", organization: "org", project: "project", maxRetries: 0, fetch };
    const caught = new OpenAI({ ...told, baseURL: `${url}/v1` });
    await caught.chat.completions.stream(body("How long?"), { timeout: 1000 }).done().catch(() => null);
    return sent;
  },
  async refused() {
    return client.chat.completions.create(body("How long?", { n: 2 }));
  },
  async unknown() {
    return client.chat.completions.create(body("How long?", { model: "gpt-9" }));
  },
  async reused() {
    return client.chat.completions.create(body("Another text", { metadata: { message_id: "reused" } }));
  },
  async repeated() {
    const told = await client.chat.completions.create(body("A slow one."), {
      headers: { "Idempotency-Key": "cut-node" },
    });
    return { content: told.choices[0].message.content };
  },
};

cases[name]()
  .catch((error) => ({
    name: error.constructor.name,
    status: error.status,
    param: error.param,
    code: error.code,
    type: error.type,
    request: error.requestID,
  }))
  .then((told) => console.log(JSON.stringify(told)));

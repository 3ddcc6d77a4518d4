// The REST side: who I am, the transcript, feedback and reviews. Holds the key of this tab.

const KEPT = "parley.key";

/** What the gateway answered instead, as it told it (RFC 9457). */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail ?? body.title ?? "");
    this.status = status;
    this.title = body.title ?? "";
  }
}

export const key = {
  get: () => sessionStorage.getItem(KEPT),
  set: (value) => sessionStorage.setItem(KEPT, value),
  forget: () => sessionStorage.removeItem(KEPT),
};

async function ask(path, options = {}) {
  const headers = { Accept: "application/json", ...options.headers };
  if (key.get()) headers.Authorization = `Bearer ${key.get()}`;
  const response = await fetch(path, { ...options, headers, cache: "no-store" });
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Problem(response.status, body);
  return body;
}

function post(path, body) {
  return ask(path, { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } });
}

const query = (tenant) => (tenant ? `?tenant=${encodeURIComponent(tenant)}` : "");

export const whoami = () => ask("/v1/whoami");
export const transcript = (conversation, tenant) => ask(`/v1/chat/${encodeURIComponent(conversation)}${query(tenant)}`);
export const feedback = (given) => post("/v1/feedback", given);
export const reviews = (tenant) => ask(`/v1/reviews${query(tenant)}`);
export const decide = (conversation, decision) => post(`/v1/reviews/${encodeURIComponent(conversation)}`, decision);

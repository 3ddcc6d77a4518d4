// Drives the client of docs/grpc-web.md in a page: each call keeps what it saw where the test can look at it.
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { follow, resume, type Shown } from "./documented";
import { Dialogues, ProblemSchema } from "./gen/parley/v1/dialogue_pb";

const address = { baseUrl: location.origin };
const transports = { "grpc-web": createGrpcWebTransport(address), connect: createConnectTransport(address) };

function rpc(name: keyof typeof transports) {
  const client = createClient(Dialogues, transports[name]);
  const shown: Shown = { conversation: "", turn: 0, last: 0, text: "", done: false };
  const leaving = new AbortController();
  const texts: string[] = [];
  const refused = (error: unknown) => {
    const found = ConnectError.from(error);
    const [problem] = found.findDetails(ProblemSchema);
    return { code: Code[found.code], field: problem?.field ?? "", detail: problem?.detail ?? found.message };
  };
  const told = async <T>(call: Promise<T>) => call.then((value) => ({ value }), (error) => refused(error));
  const draw = () => texts.push(shown.text);
  return {
    shown,
    texts,
    leave: () => leaving.abort(),
    follow: (request: object) => told(follow(client, request, shown, draw, leaving.signal)),
    resume: (tenant: string) => told(resume(client, tenant, shown, draw)),
    say: (request: object, timeoutMs?: number) =>
      told(client.say(request, { timeoutMs }).then(({ outcome }) => outcome.case === "reply" && outcome.value.answer)),
    cancel: (conversation: string, tenant: string) =>
      told(client.cancel({ conversation, tenant }).then(({ turn }) => turn)),
    feedback: (conversation: string, tenant: string) =>
      told(client.feedback({ conversation, tenant, turn: 1, score: 1 }).then(({ turn }) => turn)),
    turns: (conversation: string, tenant: string) =>
      told(client.transcript({ conversation, tenant }).then(({ turns }) => turns.map((turn) => turn.verdict))),
  };
}

Object.assign(window, { rpc });

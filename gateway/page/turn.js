// What is known of one turn, and how each event changes it. Nothing here touches the page.

export const STEPS = [
  "receive_input", "recognise_intent", "retrieve_knowledge", "generate_answer", "review_answer", "return_answer",
];

/** A question that was just asked. `last` is the id of the last event that is part of what is shown. */
export function asked(messageId, question, now, files = []) {
  const place = { turn: null, last: 0, state: "sending", steps: [] };
  return { messageId, question, files, asked: now, ...place, ...nothingShown() };
}

/** What is said: a text, or the parts of a text and its files. */
export function content({ question, files = [] }) {
  if (!files.length) return question;
  const parts = files.map(({ name, text }) => {
    return { type: "file", file: { filename: name, file_data: `data:text/plain;base64,${base64(text)}` } };
  });
  return [{ type: "text", text: question }, ...parts];
}

function base64(text) {
  return btoa(Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join(""));
}

/** A turn as the transcript tells it. */
export function told(summary) {
  const turn = { ...asked(summary.message_id, summary.question, null), turn: summary.turn };
  return retell(turn, summary);
}

/** What the transcript says of a turn stands above what was heard of it: a person may have decided since. */
export function retell(turn, summary) {
  if (summary.state === "done" || summary.state === "waiting") {
    const { answer, verdict, state, language } = summary;
    Object.assign(turn, { answer, verdict, state, language, error: null });
  } else {
    turn.state = summary.state;
  }
  return turn;
}

/** Whether more is to come of it without anybody doing anything. */
export const flows = (turn) => ["sending", "queued", "running"].includes(turn.state);

function nothingShown() {
  return { answer: "", reasoning: "", thinkingSince: null, thought: null, citations: [], withdrawn: null };
}

function endThinking(turn, now) {
  if (turn.thinkingSince !== null && turn.thought === null) turn.thought = now - turn.thinkingSince;
}

const CHANGES = {
  accepted(turn, event) {
    turn.turn = event.turn;
    turn.state = "queued";
  },
  step(turn, { step, attempt }) {
    turn.state = "running";
    turn.step = step;
    turn.attempt = attempt ?? 1;
    if (!turn.steps.includes(step)) turn.steps.push(step);
  },
  reasoning(turn, { text }, now) {
    turn.thinkingSince ??= now;
    turn.reasoning += text;
  },
  token(turn, { text }, now) {
    endThinking(turn, now);
    turn.answer += text;
  },
  citation(turn, event) {
    turn.citations = [...turn.citations.filter((one) => one.number !== event.number), event];
  },
  retry(turn, event) {
    turn.try = event.try;
    turn.why = event.why;
  },
  retract(turn, { why }) {
    Object.assign(turn, nothingShown(), { withdrawn: why });
  },
  final(turn, event, now) {
    endThinking(turn, now);
    turn.took = turn.asked === null ? null : now - turn.asked;
    const { answer, verdict, state, language } = event;
    Object.assign(turn, { answer, verdict, state, language, trace: event.trace_url });
    turn.turn = event.turn ?? turn.turn;
    turn.reasoning = event.reasoning ?? turn.reasoning;
    turn.citations = withPassages(event.citations ?? [], turn.citations);
  },
  error(turn, { status, title, detail }) {
    turn.error = { status, title, detail };
    turn.state = "failed";
  },
};

/** The reply's citations; the passage of one that was told without it is taken from the event that brought it. */
function withPassages(final, heard) {
  return final.map((one) => ({ ...heard.find((other) => other.number === one.number), ...one }));
}

/** Takes one event; false for one that was taken before, as after a resume, or that this page does not know. */
export function take(turn, event, now) {
  if (!(event.type in CHANGES) || (event.id && event.id <= turn.last)) return false;
  CHANGES[event.type](turn, event, now);
  if (event.id) turn.last = event.id;
  return true;
}

// The present conversation: asked, heard, kept for a reload, and looked up where the stream has no more to say.

import * as api from "./api.js";
import { Socket } from "./socket.js";
import { asked, content, flows, retell, take, told } from "./turn.js";

const KEPT = "parley.conversation";
const KEEP_EVERY = 250;
const LOOK_EVERY = 2_000;
const LONGEST_LOOK = 30_000;
const BASE32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/** 80 bits of chance after the time, as a ULID has them; `crypto.randomUUID` is not there on plain http. */
function ulid() {
  let time = Date.now();
  let text = "";
  for (let place = 0; place < 10; place += 1) {
    text = BASE32[time % 32] + text;
    time = Math.floor(time / 32);
  }
  return text + Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => BASE32[byte % 32]).join("");
}

export class Conversation {
  /** `asked` names the conversation to open, in place of the one that the tab has. `changed(turn, event)` for each
   * change of a turn, `reset()` when all turns are others, `lost(isLost)` for the connection, `refused(error)` for an error that belongs to no turn, `locked()` where a key is needed. */
  constructor(asked, { changed, reset, lost, refused, locked }) {
    Object.assign(this, { changed, reset, refused, locked, tenant: null, user: null, older: 0, looks: new Map() });
    this.socket = new Socket({
      wanted: () => this.turns.some(flows),
      opened: () => this.goOn(),
      heard: (event) => this.hear(event),
      lost,
    });
    this.restore(asked);
    window.addEventListener("pagehide", () => this.keep());
  }

  get flowing() {
    return this.turns.find(flows);
  }

  // asking ---------------------------------------------------------------------------------------

  say(text, files) {
    const turn = asked(`msg-${ulid()}`, text, Date.now(), files);
    this.turns.push(turn);
    this.keep();
    this.changed(turn, null);
    if (!this.send(turn)) this.socket.open();
  }

  /** The same message twice is answered once: its id tells, so it may be sent again whenever in doubt. */
  send(turn) {
    return this.socket.send({
      type: "say",
      ref: turn.messageId,
      message_id: turn.messageId,
      conversation: this.id,
      messages: [{ role: "user", content: content(turn) }],
      ...this.who(),
    });
  }

  place(turn) {
    return { conversation: this.id, turn: turn.turn, ...(this.tenant && { tenant: this.tenant }) };
  }

  who() {
    return { ...(this.tenant && { tenant: this.tenant }), ...(this.user && { user: this.user }) };
  }

  stop() {
    const turn = this.flowing;
    if (!turn || turn.stopping) return;
    turn.stopping = true;
    this.changed(turn, null);
    if (turn.turn !== null) this.askToStop(turn); // else as soon as it is accepted: a queued one may be another's
  }

  askToStop(turn) {
    this.socket.send({ type: "cancel", ref: turn.messageId, ...this.place(turn) });
  }

  feedback(turn, score, comment = "") {
    return api.feedback({ conversation: this.id, turn: turn.turn, score, comment, ...this.who() });
  }

  // hearing --------------------------------------------------------------------------------------

  /** After the connection was opened: what is under way is sent, or resumed behind what is shown of it. */
  goOn() {
    for (const turn of this.turns.filter(flows)) {
      if (turn.turn === null) {
        this.send(turn);
      } else {
        turn.resuming = true;
        this.socket.send({ type: "resume", ref: turn.messageId, after: turn.last, ...this.place(turn) });
        if (turn.stopping) this.askToStop(turn);
      }
    }
  }

  hear(event) {
    const turn = this.turnOf(event);
    if (event.type === "error" && this.refusal(turn, event)) return;
    if (!turn) return;
    turn.resuming = false;
    if (!take(turn, event, Date.now())) return;
    this.changed(turn, event);
    if (event.type === "accepted" && turn.stopping) this.askToStop(turn);
    if (!flows(turn)) this.keep();
    else this.keepSoon();
    if (turn.state === "waiting") this.lookUp(turn);
  }

  /** Takes an error that does not end a turn. */
  refusal(turn, event) {
    if (event.status === 401 || event.field === "key") {
      this.socket.close();
      this.locked(); // with a key the connection is opened again, and what is under way said again
    } else if (turn?.resuming) {
      this.lookUp(turn); // its stream is gone; the answer is not
    } else if (event.about === "cancel") {
      if (turn) turn.stopping = false;
      if (turn) this.changed(turn, null);
      if (event.status !== 409) this.refused(event); // 409: it was answered in that moment
    } else if (!turn) {
      this.refused(event);
    } else {
      return false;
    }
    return true;
  }

  turnOf(event) {
    if (event.conversation && event.conversation !== this.id) return null;
    // What was too long was not read, so the gateway cannot say which it was: the one that nobody has taken yet.
    if (event.status === 413 && !event.ref) return this.turns.find((turn) => turn.turn === null && flows(turn));
    return this.turns.find(
      (turn) => (event.ref && event.ref === turn.messageId) || (event.turn && event.turn === turn.turn),
    );
  }

  // looking up -----------------------------------------------------------------------------------

  /** Until the transcript has the answer of `turn`: the stream was lost, or a person has to decide first. */
  async lookUp(turn, pause = LOOK_EVERY) {
    this.lookNoMore(turn);
    const id = this.id;
    const problem = await this.tell().then(() => null, (error) => error);
    if (id !== this.id || (!flows(turn) && turn.state !== "waiting")) return;
    if (problem?.status === 404) {
      take(turn, { type: "error", status: 404, title: problem.title, detail: problem.message }, Date.now());
      this.changed(turn, { type: "error" });
      return;
    }
    const again = () => this.lookUp(turn, Math.min(pause * 1.5, LONGEST_LOOK));
    this.looks.set(turn, setTimeout(again, pause));
  }

  lookNoMore(turn) {
    clearTimeout(this.looks.get(turn));
    this.looks.delete(turn);
  }

  /** Brings the turns up to what the transcript says. A conversation that was never begun has none. */
  async tell() {
    const id = this.id;
    const found = await api.transcript(id, this.tenant);
    if (id !== this.id) return;
    this.older = found.older;
    let isNew = false;
    for (const summary of found.turns) {
      const turn = this.turns.find((one) => one.messageId === summary.message_id);
      if (!turn) {
        this.turns.push(told(summary));
        isNew = true;
      } else if (!flows(turn) || turn.resuming) {
        const before = `${turn.state} ${turn.answer}`;
        retell(turn, summary);
        if (before !== `${turn.state} ${turn.answer}`) this.changed(turn, { type: "final" });
      }
    }
    this.turns.sort((one, other) => (one.turn ?? Infinity) - (other.turn ?? Infinity));
    this.keep();
    if (isNew) this.reset();
  }

  // keeping --------------------------------------------------------------------------------------

  /** On load: what was shown stands at once, what still flows goes on, and the transcript fills in the rest. */
  async resume() {
    if (!this.turns.length && !this.opened) return;
    if (this.turns.some(flows)) this.socket.open();
    this.turns.filter((turn) => turn.state === "waiting").forEach((turn) => this.lookUp(turn));
    await this.tell().catch(() => null);
  }

  begin() {
    this.turns.forEach((turn) => this.lookNoMore(turn));
    this.socket.close();
    Object.assign(this, { id: `conv-${ulid()}`, turns: [], older: 0 });
    this.keep();
    this.reset();
  }

  restore(opened) {
    const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
    this.opened = Boolean(opened);
    if (opened && kept?.id !== opened) Object.assign(this, { id: opened, turns: [] });
    else Object.assign(this, kept ?? { id: `conv-${ulid()}`, turns: [] });
  }

  keepSoon() {
    this.keeping ??= setTimeout(() => this.keep(), KEEP_EVERY);
  }

  keep() {
    clearTimeout(this.keeping);
    this.keeping = null;
    const { id, turns } = this;
    try {
      sessionStorage.setItem(KEPT, JSON.stringify({ id, turns }));
    } catch {
      // Too much for the browser: with the ids it can all be told again, and files are sent again until they are taken.
      const least = turns.map(({ messageId, question, files = [], turn, state }) => {
        const needed = turn === null ? files : files.map(({ name }) => ({ name }));
        return { ...asked(messageId, question, null, needed), turn, state };
      });
      sessionStorage.setItem(KEPT, JSON.stringify({ id, turns: least }));
    }
  }
}

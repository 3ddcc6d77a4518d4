// One WebSocket for all turns: opened when it is needed, opened again with growing pauses while something is under way.

import { key } from "./api.js";

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 15_000;
/** After so long a silence the other side is asked whether it is there, and given as long to say so. */
const SILENCE = 20_000;

export class Socket {
  /** `wanted()`: whether something is under way. `opened()`: time to say or resume it. `heard(event)`: each event.
   * `lost(isLost)`: whether the reader should know that the connection is gone. */
  constructor({ wanted, opened, heard, lost }) {
    Object.assign(this, { wanted, opened, heard, lost });
    this.socket = null;
    this.pause = FIRST_PAUSE;
    this.again = null;
    window.addEventListener("online", () => this.wanted() && this.open());
  }

  /** Opens it unless it is open or opening. */
  open() {
    clearTimeout(this.again);
    if (this.socket && this.socket.readyState <= WebSocket.OPEN) return;
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/v1/stream`);
    this.socket = socket;
    socket.onopen = () => {
      if (key.get()) this.send({ type: "auth", key: key.get() });
      this.lost(false);
      this.listen();
      this.opened();
    };
    socket.onmessage = (message) => {
      this.pause = FIRST_PAUSE;
      this.listen();
      const event = JSON.parse(message.data);
      if (event.type !== "pong") this.heard(event);
    };
    socket.onclose = () => this.socket === socket && this.closed();
  }

  /** Sends it if the connection is open; what is under way is said again by `opened` otherwise. */
  send(message) {
    if (this.socket?.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(message));
    if (message.type !== "ping") this.listen();
    return true;
  }

  /** Closes it for good, for instance because the key changed. */
  close() {
    const socket = this.socket;
    this.socket = null;
    clearTimeout(this.again);
    clearTimeout(this.silence);
    socket?.close();
  }

  closed() {
    clearTimeout(this.silence);
    this.socket = null;
    if (!this.wanted()) return;
    this.lost(true);
    // Some more or less, so that a thousand pages do not come back to a restarted gateway in the same moment.
    this.again = setTimeout(() => this.open(), this.pause * (0.75 + Math.random() / 2));
    this.pause = Math.min(this.pause * 2, LONGEST_PAUSE);
  }

  /** A connection that died without a word (a laptop that slept) is found out by asking. */
  listen() {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => {
      if (!this.wanted() || !this.send({ type: "ping" })) return;
      this.silence = setTimeout(() => {
        const socket = this.socket;
        this.closed();
        socket?.close();
      }, SILENCE);
    }, SILENCE);
  }
}

/**
 * The requirements that this package is held to, in its own words, by the ids that tests are named after.
 *
 * TYP to SASL are AMQP 1.0, parts 1 to 5; WSB is its WebSocket binding, WS is RFC 6455, PXY and DIG are HTTP proxies; CBS,
 * MGT, SBX, EHX and EXT are extensions; ATK are attacks of hostile peers.
 *
 * @module
 */

/** A chapter: its requirements by id. */
export interface Chapter {
  readonly title: string;
  readonly clauses: Readonly<Record<string, string>>;
}

/** All requirements. */
export const chapters: readonly Chapter[] = [
  {
    title: "Opening",
    clauses: {
      "WSB-1": "Client MUST open with an R6455 section 4 handshake (HTTP GET upgrade)",
      "WSB-2":
        "Client MUST offer subprotocol token `amqp` (US-ASCII, lower case). It stands for AMQP 1.0 or later; the exact version is settled by the AMQP header",
      "WSB-3": "Server that accepts MUST answer 101 and echo `amqp` in `Sec-WebSocket-Protocol`",
      "WSB-4":
        "Client that gets anything but 101 plus `Sec-WebSocket-Protocol: amqp` MUST close the socket and send no AMQP bytes. Absent header counts as failure",
      "WSB-5": "`amqp` is the IANA-registered name for AMQP 1.0; never use it for 0-9-1",
      "WSB-6":
        'Option: list of accepted subprotocol names, default `["amqp"]`. `AMQPWSB10` was the name in the 2014 public review draft (csprd01) and is what Azure endpoints and SDKs still use',
      "WSB-7": "Name comparison MUST be exact and on whole tokens (not substring: `mqtt-amqp` must not match)",
      "WSB-8":
        "Accepting side: without an offered known name, refuse the upgrade with an HTTP error (400 suits); do not upgrade without a subprotocol",
      "WSB-9":
        "Accepting side: when several known names are offered prefer the one first in own preference order; send exactly one",
      "WSB-10":
        'Do not offer or accept `permessage-deflate` by default: WSB defines none, it opens CRIME-like and bomb risks. The own WebSocket of Node and of browsers may offer it, which no program can forbid: `transport: "socket"` never does',
    },
  },
  {
    title: "Byte stream inside",
    clauses: {
      "WSB-11": "AMQP bytes MUST travel in binary messages (opcode 2 plus continuations)",
      "WSB-12":
        "Text message received: fail the connection (1003). BJ and ActiveMQ close, SAP throws; old ART treats text as data. code / code choice",
      "WSB-13":
        "No relation between AMQP frames and WebSocket messages: one AMQP frame MAY be split over several messages, one message MAY hold several frames, or the tail of one and the head of the next",
      "WSB-14":
        "The same MUST hold for the 8-byte protocol header and SASL frames: a 1-byte-per-message sender must work; header + SASL-init + header + open in one message must work. Derived from 2.2–2.4",
      "WSB-15":
        "Receiver MUST accept fragmented messages and SHOULD hand on each fragment at once (no need to wait for FIN)",
      "WSB-16": "Sender SHOULD emit one message per flush, unfragmented, at most 65535 bytes by default. Values",
      "WSB-17": "Empty binary message: ignore",
      "WSB-18":
        "SASL is optional on the wire: sequence is [SASL header id 3 → SASL frames] then AMQP header id 0 → frames, as over TCP. The WebSocket client plays TCP client. P5; WSB 2.2/2.3 seen by title only",
      "WSB-19":
        "TLS is the WebSocket's (`wss`). The AMQP TLS header (`AMQP` 2 1 0 0) MUST NOT be sent by us over WebSocket; a server receiving it answers with a supported header (3 or 0) and closes. (WSB 5 says transport security comes from wss",
      "WSB-20": "SASL EXTERNAL may use the TLS client certificate of the wss layer",
      "WSB-21":
        "Bytes after the 101 header block belong to the WebSocket stream and MUST be kept (server may send at once)",
      "WSB-22":
        "AMQP `open.hostname` and `sasl-init.hostname` are independent of HTTP Host; send the virtual host name (default: URL host)",
      "WSB-23":
        "Idle: AMQP `idle-time-out` governs. WebSocket ping/pong is no AMQP traffic and MUST NOT reset the AMQP idle timer; AMQP empty frames count. P2 2.4.5 counts frames",
    },
  },
  {
    title: "Closing and errors",
    clauses: {
      "WSB-24":
        "Orderly: exchange AMQP `close`, then WebSocket Close 1000, then TCP. Initiator sends Close after the peer's AMQP `close` or after a time limit",
      "WSB-25":
        "AMQP-level error: send AMQP `close` with error, wait (bounded) for the peer's `close`, then WS Close 1000 (the WebSocket itself was fine); use 1011 only for an internal fault with no AMQP close possible",
      "WSB-26":
        "WebSocket-level error (framing, masking, UTF-8, size): WS Close 1002/1007/1009 straight away; no further AMQP bytes",
      "WSB-27":
        "Close frame received without a prior AMQP `close` = abrupt loss of connection: all sessions/links fail, unsettled deliveries become in doubt; reply Close once",
      "WSB-28":
        "AMQP bytes received before the Close frame MUST be delivered to the AMQP layer before the loss is reported",
      "WSB-29":
        "SASL failure: server sends `sasl-outcome`, flushes, then Close (1008 or 1000). AMQP header mismatch: server sends its header, then Close. P2 2.2, P5 / codes",
      "WSB-30": "Server going away: AMQP close `amqp:connection:forced`, then Close 1001",
      "WSB-31": "Browser and Workers API: `close(code)` takes only 1000 or 3000–4999; reason at most 123 UTF-8 bytes",
      "WSB-32":
        "Redirect (connection and link): WSB adds `scheme` and `path` to the error `info` keys `hostname`, `network-host`, `port` (+ `address` for links). Follow only on user opt-in, cap hops, never from wss to ws. WSB 3",
    },
  },
  {
    title: "URLs",
    clauses: {
      "WSB-33":
        "Forms `ws://host[:80]/path?query` and `wss://host[:443]/path?query`; no fragment; AMQP user info in a URL is taken out before the upgrade request and used for SASL only. Default ports 80/443",
      "WSB-34": "WSB fixes no path. Default path `/`. Paths contain `$`; MUST be sent unescaped. (paths below)",
    },
  },
  {
    title: "Client handshake",
    clauses: {
      "WS-1":
        "Request: `GET` origin-form path+query, HTTP/1.1, `Host` (port only if not default), `Upgrade: websocket`, `Connection: Upgrade`, `Sec-WebSocket-Key` = base64 of 16 fresh CSPRNG bytes, `Sec-WebSocket-Version: 13`, …",
      "WS-2": "`Origin` only when the user asks (browsers add it)",
      "WS-3":
        "User-supplied header names MUST be tokens, values MUST NOT contain CR, LF, NUL; user may not override the handshake headers",
      "WS-4": "Response: status line `HTTP/1.1 101`; the reason phrase is free and MAY be empty; MUST NOT be compared",
      "WS-5":
        "`Upgrade` value equals `websocket` case-insensitively; `Connection` contains token `upgrade` case-insensitively (list, may repeat). Header names case-insensitive",
      "WS-6":
        "`Sec-WebSocket-Accept`, trimmed, MUST equal base64(SHA-1(key ‖ `258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)); compare exactly, exactly one such header",
      "WS-7": "An extension not offered → fail. A subprotocol not offered → fail. More than one subprotocol → fail",
      "WS-8":
        "Non-101: surface status, headers, up to N body bytes as a typed error (401/403/404/429/503 distinguishable; `Retry-After` kept). 3xx: not followed by default",
      "WS-9":
        "Header block limits: total 16 KiB, 100 fields, one line 8 KiB, time limit; bare LF, obs-fold, NUL, space before colon → fail",
      "WS-10": "One connecting handshake at a time per host+port SHOULD be kept by clients",
    },
  },
  {
    title: "Server handshake",
    clauses: {
      "WS-11":
        "MUST require GET, HTTP ≥ 1.1, Host, Upgrade containing `websocket`, Connection containing `upgrade`, one key that decodes to 16 bytes, version 13; else 400",
      "WS-12": "Other version: 426 with `Sec-WebSocket-Version: 13`",
      "WS-13":
        "Origin: if present and not on the allow list → 403. Default for the accepting side: an explicit policy is required when browsers may connect (see ATK-20)",
      "WS-14": "Authentication callbacks run before 101; refusal gives 401 with `WWW-Authenticate` or 403",
      "WS-15":
        "101 answer carries Upgrade, Connection, Accept and the one chosen protocol; no `Sec-WebSocket-Extensions`",
      "WS-16":
        "Parse `Sec-WebSocket-Protocol` with a linear scanner, not a backtracking expression (`ws` CVE-2021-32640)",
      "WS-17":
        "Too many headers must give a clean 431/400, never a crash (`ws` CVE-2024-37890: crash when the header count passed `maxHeadersCount`)",
    },
  },
  {
    title: "Frames",
    clauses: {
      "WS-18": "Byte 0: FIN 0x80, RSV 0x70, opcode 0x0F. RSV ≠ 0 without extension → 1002. Opcodes 3–7, 11–15 → 1002",
      "WS-19":
        "Client MUST mask every frame (also control, also empty) with a fresh unpredictable 4-byte key; server MUST NOT mask. Server gets unmasked → 1002; client gets masked → 1002",
      "WS-20": "payload[i] ^= key[i mod 4], index runs over the frame, across reads",
      "WS-21":
        "Length: 0–125 in 7 bits; 126 + u16 for 126–65535; 127 + u64 above, top bit 0. Sender MUST use the shortest; receiver SHOULD fail (1002) on a non-minimal one",
      "WS-22":
        "JS trap: `n >>> 32` and more wrap the shift count (mod 32): 65536 written with `>>>56…>>>0` yields `00 01 00 00 00 01 00 00`. Write the high word by division or BigInt",
      "WS-23": "Length above own limit → 1009 before buffering; u64 above 2^53−1 → 1009/1002",
      "WS-24":
        "Control frames (8, 9, 10): FIN=1, payload ≤ 125, MUST be handled between fragments of a data message. Violation → 1002",
      "WS-25":
        "New data opcode 1/2 while a fragmented message is open → 1002. Continuation with none open → 1002. Zero-length fragments are legal",
      "WS-26":
        "Ping → Pong with same payload, soon; several pings MAY be answered by the last only; none after own Close. Unsolicited Pong is ignored; we SHOULD NOT send unsolicited Pongs",
      "WS-27": "Cap pings: answer rate-limited, queue at most one pending Pong",
      "WS-28":
        "Frame header may arrive in any split, 1 byte at a time; also a 2-byte empty control frame as the last bytes of a read must be handled at once",
    },
  },
  {
    title: "Close",
    clauses: {
      "WS-29": "Close payload: empty, or ≥ 2 bytes; length 1 → 1002. Code big-endian unsigned",
      "WS-30":
        "Legal on the wire: 1000–1003, 1007–1014, 3000–4999. Received 0–999, 1004, 1005, 1006, 1015, 1016–2999, ≥ 5000 → answer 1002. Never send 1005, 1006, 1015",
      "WS-31":
        "Reason MUST be valid UTF-8, else 1007; ≤ 123 bytes; cut on a code-point boundary when sending. Never shown unescaped",
      "WS-32": "First Close received: reply with one Close (echo the code), send nothing else, discard later data",
      "WS-33":
        "After own Close: keep reading until the peer's Close or time limit; then server closes TCP first, client waits then closes",
      "WS-34": "No Close seen → report 1006 locally; Close without code → 1005 locally",
      "WS-35":
        "Sent codes: 1000 normal, 1001 going away, 1002 protocol, 1003 text received, 1007 bad UTF-8, 1008 policy, 1009 too big, 1011 internal, 1012 restart, 1013 try later",
    },
  },
  {
    title: "Runtime limits",
    clauses: {
      "WS-36":
        'Browser: no request headers, no ping API, `binaryType="arraybuffer"`, back-pressure only by `bufferedAmount`; WHATWG fails the socket when subprotocols were asked and none is returned',
    },
  },
  {
    title: "Types",
    clauses: {
      "TYP-1":
        "Codes (XML): null 40; boolean 56(1 byte 00/01) true 41 false 42; ubyte 50; ushort 60; uint 70/52(1)/43(=0); ulong 80/53(1)/44(=0); byte 51; short 61; int 71/54(1); long 81/55(1); float 72; double 82; decimal32/64/128 74/84/94",
      "TYP-2":
        "Unknown constructor → `amqp:decode-error`. Category by high nibble: 4=0, 5=1, 6=2, 7=4, 8=8, 9=16 bytes, A/B variable, C/D compound, E/F array",
      "TYP-3": "Encoders SHOULD pick the smallest encoding; decoders MUST accept all of a type",
      "TYP-4":
        "Compound `size` counts the bytes after the size field (including count); consumed bytes MUST equal size, else decode-error",
      "TYP-5": "Map count MUST be even; equal keys make a map invalid; map order is to be kept on re-encoding",
      "TYP-6":
        "Array: one constructor for all elements (may be described, may be compound); element constructors are not repeated; size/count before the constructor",
      "TYP-7":
        "string is UTF-8 without BOM; invalid UTF-8 → decode-error (use fatal decoder). symbol is 7-bit ASCII. boolean 56 other than 0/1 → error. char > 0x10FFFF or a surrogate → error",
      "TYP-8": "ulong, long, timestamp are 64 bit: BigInt or a checked safe-integer policy; never silent rounding",
      "TYP-9":
        "Composite = described list; descriptor as ulong or symbol MUST both be accepted; trailing nulls MAY be left out; mandatory field null/absent → `amqp:decode-error`; more fields than defined → decode-error",
      "TYP-10":
        "`multiple=true`: null, one bare value, or an array; empty array = null. A field both multiple and mandatory needs ≥ 1 value. FE",
      "TYP-11":
        "`fields`: keys symbols, not null. `requires`-typed `*` fields: type must provide the archetype, else decode-error/invalid-field",
    },
  },
  {
    title: "Protocol header and frames",
    clauses: {
      "FRM-1": "Header: `AMQP`, id (0 AMQP, 2 TLS, 3 SASL), 1, 0, 0",
      "FRM-2": "Active opener MUST send its header at once; acceptor MAY wait",
      "FRM-3":
        "Server: unsupported version/id or unparsable → send a supported header and close. It MAY choose any acceptable id (e.g. 3 when SASL is required)",
      "FRM-4":
        "Headers differ → both close their output and SHOULD read until end. Client error must carry the header received",
      "FRM-5": "A new header exchange follows after SASL outcome ok",
      "FRM-6":
        "Frame: SIZE u32 (whole frame, ≥ 8), DOFF u8 in 4-byte words (≥ 2), TYPE u8 (0 AMQP, 1 SASL), bytes 6–7 channel (AMQP) or ignored (SASL, send 0). Extended header (DOFF×4−8 bytes) ignored",
      "FRM-7": "SIZE above own max-frame-size → close with framing-error, before buffering",
      "FRM-8": "Unknown TYPE → framing-error. SASL frame after SASL or AMQP frame during SASL → fail",
      "FRM-9":
        "AMQP body: one performative, then payload only for transfer; trailing bytes after any other performative → decode-error",
      "FRM-10":
        "Empty body = keep-alive: accept on any valid channel, send on channel 0; only after own open and before own close",
    },
  },
  {
    title: "Connection",
    clauses: {
      "CON-1": "First frame MUST be open, on channel 0, once",
      "CON-2":
        "Before negotiation max frame is 512 and channel max 0: our open MUST fit 512 bytes (check; warn or trim properties) unless the user overrides",
      "CON-3":
        "max-frame-size default 4294967295; below 512 (also 0) MUST be refused by the peer. Never send above the peer's",
      "CON-4":
        "channel-max default 65535; sessions usable = value+1; channel above own announced max → framing-error close",
      "CON-5": "container-id mandatory. hostname: null or equal to what SASL/SNI said; different is undefined",
      "CON-6":
        "idle-time-out in ms: 0 = null = none. Announce half of the real limit. Peer's value T: send something at least every T (timer at T/2). Own announced L: time out at 2·L without a frame",
      "CON-7":
        "Time out locally: close with an error, bounded wait, then drop. Peer's T too small to honour: close with an error",
      "CON-8":
        "Pipelined open allowed: frames before the peer's header/open if they fit what every peer accepts (512 bytes, channel 0). Acceptors MUST handle header+SASL+open+begin+attach arriving together",
      "CON-9":
        "States START, HDR_RCVD, HDR_SENT, HDR_EXCH, OPEN_PIPE, OC_PIPE, OPEN_RCVD, OPEN_SENT, CLOSE_PIPE, OPENED, CLOSE_RCVD, CLOSE_SENT, DISCARDING, END; frames illegal for a state → `amqp:illegal-state`/framing-error close",
      "CON-10":
        "close: each side exactly once, the last frame it writes; then read until the peer's close with a time limit. Close for an error → DISCARDING: drop all but close. Receive on any valid channel, send on 0",
      "CON-11": "Simultaneous close is normal. Sockets are not reused after close",
      "CON-12": "Capabilities: use only what was desired by us and offered by the peer",
      "CON-13": "Locales: en-US always; lists ordered by preference",
    },
  },
  {
    title: "Session",
    clauses: {
      "SES-1":
        "begin: remote-channel unset when initiating, set to the peer's channel when answering. Lowest free channel RECOMMENDED. Begin naming a remote-channel we never began → error (`amqp:not-allowed`)",
      "SES-2": "Incoming and outgoing channel numbers are independent maps",
      "SES-3":
        "Frame on an unmapped channel (other than begin) → close connection (`amqp:not-allowed` or framing-error)",
      "SES-4": "handle-max default 4294967295; handle above it → connection close framing-error",
      "SES-5":
        "end once each way; error end → DISCARDING: drop frames of that channel till the peer's end. A channel number may be reused only when both ends are seen",
      "SES-6":
        "transfer-ids are implicit: each transfer frame (not delivery) takes the next id; u32, R1982 compare. next-outgoing-id start is free",
      "SES-7":
        "Sending a transfer: next-outgoing-id++, remote-incoming-window−−. Receiving: next-incoming-id++, remote-outgoing-window−−, incoming-window−− (policy)",
      "SES-8":
        "On flow F: next-incoming-id ← F.next-outgoing-id; remote-outgoing-window ← F.outgoing-window; remote-incoming-window ← F.next-incoming-id + F.incoming-window − next-outgoing-id(local), all mod 2^32",
      "SES-9":
        "Do not send when remote-incoming-window is 0; resume on flow. Transfer beyond own announced window → end with `amqp:session:window-violation`",
      "SES-10": "flow.next-incoming-id MUST be set once begin was received, and MUST NOT before",
      "SES-11": "Replenish the incoming window before it hits 0 (e.g. at half) without a flow per transfer",
      "SES-12":
        "R1982, 32 bit: a < b iff ((b − a) mod 2^32) in 1…2^31−1; equal distance 2^31 is undefined → treat as error. Tests at 0xFFFFFFFF → 0",
    },
  },
  {
    title: "Links",
    clauses: {
      "LNK-1":
        "Link identity: (source container, target container, name). Same name attached again while active: the new one wins, the old gets detach `amqp:link:stolen` (closed)",
      "LNK-2":
        "Handle unique per session and direction of use; attach on a handle in use → connection close with `amqp:session:handle-in-use` (text says close; ending the session is seen). Lowest free handle RECOMMENDED",
      "LNK-3": "A link is attached to one session at a time",
      "LNK-4":
        "Refusal: answer attach with the missing terminus null (sender refused: target null; receiver refused: source null), then immediate detach closed=true with error",
      "LNK-5": "initial-delivery-count MUST be set if role=sender, ignored if receiver",
      "LNK-6":
        "snd-settle-mode: sender's value is the fact, receiver's a wish; rcv-settle-mode: receiver's value is the fact, sender's a wish. Each SHOULD honour the wish when the other side began. Defaults mixed(2), first(0)",
      "LNK-7":
        "max-message-size 0/unset = none. Larger → detach `amqp:link:message-size-exceeded`. Some Azure SDKs read an absent value as 0 bytes, so an accepting side SHOULD always set it (one third-party report)",
      "LNK-8": "unsettled: map tag → state, keys not null; null when (re)attaching rather than resuming",
      "LNK-9":
        "incomplete-unsettled=true: absence of a tag proves nothing; sender MUST NOT send new deliveries; receiver that sent it MUST detach with error on a non-resume transfer; detach + reattach until complete",
      "LNK-10": "Frame for a handle not attached → end session `amqp:session:unattached-handle`",
      "LNK-11": "Input (other than detach) for a link already detached with error → `amqp:session:errant-link`",
      "LNK-12":
        "detach closed=false suspends (terminus kept), closed=true ends. Answer with the same. If our non-closing detach crosses a closing one, reattach and send a closing detach",
      "LNK-13":
        "After sending detach no frame for that handle; incoming ones are dropped until the answer; deliveries in flight become unsettled (suspend) or released/unknown (close)",
    },
  },
  {
    title: "Link flow",
    clauses: {
      "FLW-1": "Without handle: delivery-count, link-credit, available, drain, properties MUST NOT be set",
      "FLW-2":
        "Receiver sets link-credit; sender echoes the last known. Sender sets delivery-count and available; receiver echoes the last known delivery-count, unset while the sender's attach is not seen",
      "FLW-3":
        "Sender: credit ← delivery-count(rcv) + link-credit(rcv) − delivery-count(snd), mod 2^32; if delivery-count(rcv) is unset use the initial delivery count",
      "FLW-4":
        "Each delivery (also multi-frame, also aborted) uses 1: delivery-count++, credit−−. Never send with credit 0",
      "FLW-5":
        "drain=true: sender sends what it has, then sets delivery-count += credit, credit 0, and sends flow. One such flow per drain request",
      "FLW-6": "Credit reduction to 0 = stop; messages in flight still arrive and must be accepted",
      "FLW-7": "echo=true: answer with a flow soon; an answer MUST NOT itself carry echo=true (loop)",
      "FLW-8": "flow for an unknown handle → unattached-handle",
    },
  },
  {
    title: "Transfer",
    clauses: {
      "TRF-1":
        "First frame of a delivery MUST carry delivery-id, delivery-tag, message-format; continuations MAY omit; if present MUST be equal, else error (detach or end)",
      "TRF-2":
        "delivery-tag ≤ 32 bytes; unique among unsettled ones of the link; zero length allowed only where uniqueness holds (pre-settled)",
      "TRF-3": "delivery-id: session-wide per direction, consecutive",
      "TRF-4":
        "more=true on all but the last frame; frames of one link MUST NOT interleave deliveries; frames of different links MAY",
      "TRF-5":
        "settled unset on first = false; later unset = sticky true. With snd mode settled it MUST be true on at least one frame; with unsettled it MUST be false (unless aborted)",
      "TRF-6":
        "aborted=true: discard all data of the delivery, ignore this frame's payload and `more`; implicitly settled; nothing goes to the application",
      "TRF-7":
        "rcv-settle-mode on transfer: `second` is illegal if the link's is `first`; ignored when sent settled; not part of resumable state",
      "TRF-8": "state on transfer = disposition just before it; a terminal state cannot be changed later by the sender",
      "TRF-9": "Payload split so that each frame ≤ min(peer max-frame-size); sum ≤ peer max-message-size",
      "TRF-10": "If the performative alone cannot fit → `amqp:frame-size-too-small`",
    },
  },
  {
    title: "Settlement and disposition",
    clauses: {
      "DSP-1":
        "disposition.role = role of its sender; range first…last inclusive in serial order; last unset = first; last before first or unknown ids: ignore unknown ones, never loop over 2^31 ids (iterate over the local map)",
      "DSP-2":
        "first(0): receiver settles without waiting. second(1): receiver sends an unsettled terminal state, sender settles with disposition, only then the receiver settles (exactly once)",
      "DSP-3":
        "At-most-once = settled transfer; at-least-once = unsettled + first; exactly-once = unsettled + second + resume",
      "DSP-4":
        "Sender MAY settle first; receiver must then drop its state. Settle without state → source.default-outcome",
      "DSP-5": "Dispositions for links detached but not closed still apply",
      "DSP-6": "batchable is a hint only",
      "DSP-7": "`received` state MUST NOT be sent by the sender except on the first transfer of a resumed delivery",
    },
  },
  {
    title: "Resume ; L = sender's map, R = receiver's map",
    clauses: {
      "RES-1": "Receiver MUST ignore resumed deliveries not in its map; sender MUST NOT resume ones not in its own",
      "RES-2": "Receiver has it, sender does not: the receiver treats it as settled (unless incomplete-unsettled)",
      "RES-3":
        "Resume state lives above the connection (survives reconnect); on by request, since Azure has no link recovery",
    },
  },
  {
    title: "Error conditions (XML",
    clauses: {
      "ERR-1":
        "error.condition mandatory symbol; unknown conditions passed through; description is never trusted as HTML/log control text",
    },
  },
  {
    title: "Messages",
    clauses: {
      "MSG-1":
        "Order written: header?, delivery-annotations?, message-annotations?, properties?, application-properties?, body, footer?. Codes 70…78 hex as listed in XML. Read: a section twice or unknown → decode-error",
      "MSG-2":
        "Body exactly one of: ≥ 1 data, ≥ 1 amqp-sequence, one amqp-value. No body: accept leniently as null, never send",
      "MSG-3": "Header absent = defaults: durable false, priority 4, ttl none, first-acquirer false, delivery-count 0",
      "MSG-4":
        "Bare message (properties, application-properties, body) is immutable for intermediaries; forward bytes unchanged",
      "MSG-5": "message-id/correlation-id: ulong, uuid, binary or string; type MUST survive a round trip",
      "MSG-6":
        "properties: user-id binary; to/reply-to string; content-type/-encoding symbol; times ms; group-sequence u32 serial. content-type SHOULD be unset unless body is data",
      "MSG-7":
        "application-properties: string keys, no null; simple values only (no list, map, array). Refuse when encoding",
      "MSG-8":
        "Annotations: keys symbol or ulong (reserved by the spec, legal on the wire), both read and written back; string keys (ActiveMQ) read unless `limits.strict`. `x-opt-…` MUST be ignored if unknown",
      "MSG-9": "delivery-annotations key `rejected` is reserved for an error value. Footer for hashes etc",
      "MSG-10": "ttl counts from first arrival; intermediaries lower it. delivery-count = earlier failed attempts",
      "MSG-11":
        "message-format 0 = AMQP; top 3 bytes = format, low byte = version. Unknown format: hand over raw bytes",
      "MSG-12":
        "Outcomes: accepted (count unchanged), rejected (count +1, optional error), released (MUST NOT count), modified(delivery-failed → counts; undeliverable-here → not again to this link; message-annotations merged)",
      "MSG-13":
        "Durable message to a target that cannot keep it: reject precondition-failed if `rejected` allowed, else detach with it",
      "MSG-14":
        "Read unless `limits.strict`: null in a data section (@azure/event-hubs writes it) as empty bytes; symbol where string is meant and the reverse in properties (content-type as string)",
    },
  },
  {
    title: "Source and target",
    clauses: {
      "TRM-1":
        "durable: none 0, configuration 1, unsettled-state 2. expiry-policy: link-detach, session-end (default), connection-close, never; timeout seconds default 0; reattach stops the timer, next trigger restarts it from full",
      "TRM-2": "dynamic=true: initiator leaves address null, the peer returns it; dynamic-node-properties only then",
      "TRM-3":
        "dynamic-node-properties: `lifetime-policy` = delete-on-close 2b, -no-links 2c, -no-messages 2d, -no-links-or-messages 2e; `supported-dist-modes`",
      "TRM-4": "distribution-mode move | copy",
      "TRM-5":
        "filter: symbol → null or described value (null = not there); a message must pass all. The source returns the filter really in force: client MUST compare and report dropped ones",
      "TRM-6":
        "default-outcome; outcomes as symbols (`amqp:accepted:list`…); if both unset, accepted MUST be supported. Never send an outcome outside the agreed list",
      "TRM-7": "Minimal source/target (all fields unset) is legal, and is not the same as null",
      "TRM-8": "target may be `coordinator` (30). Unknown terminus type → not-implemented",
      "TRM-9":
        "A sender's attach names source.outcomes (accepted, rejected, released, modified) and a receiver's its source.default-outcome and outcomes: without them only accepted is guaranteed, and Broker-J ends the link at its first reject",
      "TRM-10": "rcv-settle-mode in force is the receiver's word in the attach that it sent or answered with",
    },
  },
  {
    title: "Transactions",
    clauses: {
      "TXN-1":
        "Control link: attach role=sender, target=coordinator(capabilities wanted); the answer's coordinator lists actual ones; the controller checks them",
      "TXN-2":
        "declare (31) in an amqp-value, transfer unsettled; answer outcome declared (33) with txn-id (binary ≤ 32). global-id only with distributed-transactions",
      "TXN-3": "discharge (32): txn-id, fail (true = roll back). accepted = done",
      "TXN-4":
        "Failure: rejected with transaction-error if the source supports rejected, else detach with it. A pre-settled control message is an error",
      "TXN-5":
        "Posting: transfer.state = transactional-state (34, txn-id) on the (first) frame; resource's disposition carries transactional-state with the provisional outcome",
      "TXN-6":
        "Retirement: disposition.state = transactional-state(txn-id, outcome); effect at commit; on rollback the delivery goes back to unsettled/acquired",
      "TXN-7": "Acquisition: `txn-id` in flow.properties",
      "TXN-8": "Control link closed → its open transactions roll back; later use → unknown-id",
      "TXN-9":
        "Capabilities: `amqp:local-transactions`, `:distributed-transactions`, `:promotable-transactions`, `:multi-txns-per-ssn`, `:multi-ssns-per-txn`; without them assume one transaction per session and one session per transaction",
      "TXN-10": "Unknown txn-id in a transfer → detach/reject unknown-id. Time out → `amqp:transaction:timeout`",
    },
  },
  {
    title: "SASL layer",
    clauses: {
      "SASL-1":
        "Frame type 1, size ≤ 512, no negotiation of size; empty frame = fatal; exactly one sasl-frame body, bytes 6–7 and extended header ignored",
      "SASL-2":
        "Order: server mechanisms(40) → client init(41) → (challenge 42 / response 43)* → outcome(44). SASL client = WebSocket client. Anything else → fail",
      "SASL-3":
        "mechanisms: ≥ 1, ordered by server preference; null or empty invalid; a single bare symbol is legal. No authentication wanted → only ANONYMOUS",
      "SASL-4":
        "Client picks the strongest it can use from the list, by its own order; never falls below a user-set floor (no PLAIN/XOAUTH2 without TLS unless allowed)",
      "SASL-5":
        "Outcome codes 0 ok, 1 auth, 2 sys, 3 sys-perm, 4 sys-temp; only 4 is worth an automatic retry. additional-data may carry server-final",
      "SASL-6": "Unsupported mechanism chosen: outcome 1, close. (text: close)",
      "SASL-7":
        "Distinguish null initial-response from zero-length binary: EXTERNAL/ANONYMOUS with nothing to say send zero-length",
      "SASL-8":
        "Tokens do not fit 512 bytes: accept larger SASL frames up to an option (e.g. 64 KiB) and allow sending them; default limits documented",
      "SASL-9":
        "Server: bounded rounds, time limit, constant-time compare, same reply for unknown user and wrong password",
    },
  },
  {
    title: "SASL mechanisms",
    clauses: {
      "SCR-1":
        "client-first = gs2 header + bare: `n,,n=USER,r=CNONCE` (`y,,` if channel binding is possible but not offered; authzid as `n,a=ID,`). In USER `=`→`=3D`, `,`→`=2C`; SASLprep user and password",
      "SCR-2":
        "server-first `r=CNONCE+SNONCE,s=BASE64,i=N`. Client MUST check that r starts with its nonce and is longer, N ≥ 4096 (floor) and ≤ own cap (CPU bomb); unknown `m=` → fail",
      "SCR-3":
        "Salted = PBKDF2-HMAC-H(password, salt, N, |H|). CK = HMAC(Salted,`Client Key`); SK' = H(CK); AuthMsg = client-first-bare `,` server-first `,` client-final-without-proof; proof = CK xor HMAC(SK', AuthMsg)",
      "SCR-4":
        "client-final `c=BASE64(gs2)` (`biws` for `n,,`) `,r=…,p=…`. Server-final `v=` or `e=`; client MUST verify v before reporting success",
      "SCR-5":
        "Server-final may come in sasl-outcome.additional-data, or as a challenge answered by an empty response; accept both; ok without a verified v → fail",
      "SCR-6": "WebCrypto PBKDF2 covers SHA-1/256/512 on all target runtimes (no MD5, no SHA-512/256 there)",
    },
  },
  {
    title: "CBS",
    clauses: {
      "CBS-1":
        "Draft used by Azure: link pair to node `$cbs`; request: message-id, reply-to; application-properties `operation`=`put-token`, `type`, `name`=audience, optional `expiration` timestamp; body amqp-value string = token",
      "CBS-2": "Types: `jwt` (current SDKs; older text `amqp:jwt`), `amqp:swt`, `servicebus.windows.net:sastoken`",
      "CBS-3":
        "Response: correlation-id = request id; `status-code` int, `status-description` string, body empty. Success 200; SDKs accept 200 and 202. 400 bad content, 401 unauthorised, 404 unknown, 500 processing",
      "CBS-4": "`delete-token`: operation, type, name, empty body; absent token = success",
      "CBS-5":
        "Audience examples: `sb://NS.servicebus.windows.net/ENTITY[/ConsumerGroups/G/Partitions/P | /$management]`",
      "CBS-6":
        "Tokens are per connection; Service Bus wants the first within 20 s of connecting, detaches links at expiry. Refresh before expiry (e.g. at 80 % of life, jitter, retry), same gesture, links stay",
      "CBS-7":
        "OASIS CBS CSD01 (17 Mar 2021): server offers connection capability `AMQP_CBS_V1_0`, open property `cbs-node` (default `$cbs`); client desires the capability",
      "CBS-8": "Pick the variant by the offered capability; else put-token. NETL",
    },
  },
  {
    title: "Management request/response",
    clauses: {
      "MGT-1":
        "Sender to N/`$management` + receiver from it with unique, unguessable target address used as reply-to; correlate on message-id (string, ulong, uuid) exactly once; drop unknown correlation; time out each request",
      "MGT-2":
        "Request application-properties `operation`, `type`, `name` or `identity`, `locales`; response `statusCode` int, `statusDescription`. Operations CREATE, READ, UPDATE, DELETE, QUERY (`entityType`, `offset`, `count`",
      "MGT-3": "RabbitMQ 4 uses another scheme (HTTP-like messages on `/management`, link pair with property `paired`)",
      "MGT-4":
        "Event Hubs: READ with `type` `com.microsoft:eventhub` or `com.microsoft:partition`, `name`, `partition`, `security_token`",
    },
  },
  {
    title:
      "Service Bus operations (entity node `…/$management`, body amqp-value map; optional `com.microsoft:server-timeout` uint ms, `com.microsoft:tracking-id`, `associated-link-name`)",
    clauses: {
      "SBX-1":
        "Lock token = delivery-tag, a 16-byte GUID in .NET byte order (first three groups little-endian; the SDK reorders to an AMQP uuid); annotation `x-opt-lock-token` is not always there",
      "SBX-2":
        "Rule descriptors: rule-description 0x0000013700000004, empty-action …13700000005, sql-action 0x0000013700000006; but filters are 0x0000001370000006 sql, …07 true, …08 false, …09 correlation (note the shifted digits)",
      "SBX-3":
        "Session receiver: source.filter `com.microsoft:session-filter` = session id string, or null for any; attach reply names the session, link property `com.microsoft:locked-until-utc` in .NET ticks (100 ns since year 1",
      "SBX-4":
        "Annotations: `x-opt-scheduled-enqueue-time` (timestamp), `x-opt-partition-key`, `x-opt-via-partition-key`, `x-opt-enqueued-time`, `x-opt-sequence-number`, `x-opt-offset`, `x-opt-locked-until`, `x-opt-deadletter-source`",
      "SBX-5": "Described symbols `com.microsoft:timespan`, `:uri`, `:datetime-offset` must pass through",
      "SBX-6":
        "Batch: message-format 0x80013700, body = data sections, each a whole encoded message; limit = max-message-size. Number, layout",
    },
  },
  {
    title: "Event Hubs",
    clauses: {
      "EHX-1":
        "Receiver source `HUB/ConsumerGroups/G/Partitions/P`; filter key and descriptor `apache.org:selector-filter:string` (0x0000468C00000004), value e.g",
      "EHX-2":
        "Link property `com.microsoft:epoch` long (higher steals, `amqp:link:stolen`), `com.microsoft:receiver-name`; desired capability `com.microsoft:enable-receiver-runtime-metric`",
    },
  },
  {
    title: "Others",
    clauses: {
      "EXT-1":
        "Anonymous terminus: capability `ANONYMOUS-RELAY`; attach target with null address (non-null target); each message's `to` routes it. Unroutable: rejected if supported and unsettled, else detach",
      "EXT-2":
        "Apache filters (specs/apache-filters.xml): 0x0000468C00000000 legacy-amqp-direct-binding:string; …01 legacy-amqp-topic-binding:string; …02 legacy-amqp-headers-binding:map (`x-match` any/all); …03 no-local-filter:list",
      "EXT-3":
        "OASIS Filter Expressions CSD01: `amqp:properties-filter` 0x173, `amqp:application-properties-filter` 0x174, `amqp:sql-filter` 0x120 (map key `sql-filter`); capabilities `AMQP_FILTEX_PROP_V1_0`, `AMQP_FILTEX_SQL_V1_0`",
      "EXT-4":
        "RabbitMQ streams: described symbols `rabbitmq:stream-offset-spec`, `rabbitmq:stream-filter`, `rabbitmq:stream-match-unfiltered`",
      "EXT-5":
        "Shared subscriptions: connection capability `SHARED-SUBS`; source capabilities `shared`, `global`; terminus types `queue`, `topic`, `temporary-queue`, `temporary-topic`",
      "EXT-6":
        "sole-connection-for-container: desired/offered capability; open property `sole-connection-enforcement-policy` uint 0 refuse, 1 close-existing; answer `sole-connection-detection-policy` 0 strong, 1 weak",
      "EXT-7":
        "Open with property `amqp:connection-establishment-failed`: client waits for the close and reports its error",
      "EXT-8":
        "Delayed delivery: capability `DELAYED_DELIVERY`; message annotations `x-opt-delivery-time` (ms since 1970, long), `x-opt-delivery-delay` (ms, long); both present: time wins. BJ: `x-qpid-not-valid-before`",
      "EXT-9": "Open property `failover-server-list`: list of maps with redirect keys (qpid-jms). Use only on opt-in",
      "EXT-10": "Redirect `port` seen as uint; accept any integer type 1–65535",
    },
  },
  {
    title: "Tunnel",
    clauses: {
      "PXY-1":
        "Request: `CONNECT host:port HTTP/1.1`, `Host: host:port` (same authority; IPv6 in brackets; port always), optional `Proxy-Authorization`, user headers checked as WS-3. Body none",
      "PXY-2":
        "Any 2xx = tunnel from the byte after the blank line; MUST ignore Content-Length and Transfer-Encoding on it; keep surplus bytes for TLS",
      "PXY-3": "1xx: skip (101 → fail). Accept HTTP/1.0 and 1.1 status lines; reason may be missing. Limits as WS-9",
      "PXY-4":
        "Non-2xx: read the body by R9112 rules (chunked, length, until close) up to a cap, so that a retry can reuse the connection; header and body may come in any number of reads. (azure-sdk-for-java 5124)",
      "PXY-5":
        "After 407 with `Connection: close`, `Proxy-Connection: close`, or HTTP/1.0 without keep-alive, or body over the cap: open a new TCP connection and send the answer there",
      "PXY-6": "At most one answer per challenge, plus one more for `stale=true`; second plain 407 = wrong credentials",
      "PXY-7": "A proxy that lets us in without challenge is success, also when credentials were configured",
      "PXY-8":
        "TLS to the target is inside the tunnel with the target's name; TLS to the proxy (`https://` proxy) is separate. Proxy credentials never go into the tunnel; `Authorization` of the target never goes to the proxy",
      "PXY-9": "DNS of the target is left to the proxy. Time limits per step. Errors carry status but not credentials",
      "PXY-10": "Environment (`HTTPS_PROXY`, `NO_PROXY`) read only on opt-in",
    },
  },
  {
    title: "Challenges",
    clauses: {
      "PXY-11":
        "`Proxy-Authenticate` may repeat and each value may hold several challenges; commas inside quoted strings and between params make splitting on `,` wrong: tokenise (scheme, then token68 or param list). Names case-insensitive",
      "PXY-12":
        "Preference: Digest SHA-512-256, SHA-256, MD5 (by own ranking, not order), then Basic; Basic only if the user allows it on a cleartext proxy link. Unknown schemes/algorithms skipped",
      "PXY-13":
        "Basic: base64(UTF-8(user `:` password)); user without `:`; no control characters. Preemptive sending allowed by option",
      "PXY-14": "Basic charset: `UTF-8` is the only defined value; default UTF-8 here",
    },
  },
  {
    title: "Digest (R7616)",
    clauses: {
      "DIG-1":
        "Params: realm, nonce (mandatory), qop list, algorithm (absent = MD5), opaque, stale, domain (ignored for proxies), charset=UTF-8, userhash",
      "DIG-2":
        "H = MD5, SHA-256 or SHA-512/256 (FIPS 180-4 own initial values, not SHA-512 cut short). Hex lower case. Bring own MD5 and SHA-512/256 where the platform lacks them",
      "DIG-3":
        "A1 = user:realm:password; `-sess`: H(user:realm:password):nonce:cnonce (first cnonce of the session). A2 = method:uri, auth-int: method:uri:H(body). For us method `CONNECT`, uri = the request target `host:port`, body empty",
      "DIG-4":
        "qop present: response = H(H(A1):nonce:nc:cnonce:qop:H(A2)); absent (R2069 form): H(H(A1):nonce:H(A2)), and no nc/cnonce sent (cnonce only with -sess)",
      "DIG-5": "Choose `auth` when offered; `auth-int` only if it is alone. Unknown qop only → unusable",
      "DIG-6":
        "nc = 8 lower-case hex digits, starts 00000001 per nonce, +1 for each request with that nonce; new nonce resets. cnonce ≥ 128 random bits, ASCII",
      "DIG-7":
        "Header: quoted: username, realm, nonce, uri, response, cnonce, opaque. MUST NOT be quoted: algorithm, qop, nc. Values backslash-escaped. algorithm echoed if it was given; opaque returned unchanged (SHOULD)",
      "DIG-8":
        "userhash=true: username = H(user:realm), send userhash=true (A1 still uses the plain name). Else a non-ASCII name with charset: `username*=UTF-8''pct-encoded`, never both",
      "DIG-9":
        "stale=true (case-insensitive): retry with the new nonce, no new credentials. `Proxy-Authentication-Info` nextnonce MAY be used; rspauth MAY be checked",
      "DIG-10": "realm, nonce, opaque from the proxy are attacker data: no CR/LF can pass back out",
    },
  },
  {
    title: "Attack surfaces (each needs a test; unmarked lines are",
    clauses: {
      "ATK-1": "Array of zero-width elements (null, true, false, uint0, ulong0, list0) with count up to 2^32−1: cap",
      "ATK-2":
        "Count larger than the remaining bytes allow (1 byte minimum per non-zero-width element): check before allocating; never `new Array(count)`",
      "ATK-3":
        "Nesting: lists, maps, arrays, described-in-described descriptor chains; depth cap; iterative or counted, no stack overflow",
      "ATK-4": "Compound size lies: size < 4/1, beyond parent, under- or over-consumed",
      "ATK-5": "Variable-width length near 2^32, sign errors (uAMQP CVE-2024-21646: integer overflow on binary)",
      "ATK-6":
        "Frame SIZE up to 4 GiB with slow bytes: reject by max-frame-size before buffering; partial frame memory ≤ limit",
      "ATK-7":
        "Many-frame delivery without end: cap by max-message-size, also when the peer ignores it; cap transfers with empty payload and more=true",
      "ATK-8":
        "Flood of empty frames, flow echo storms, attach/detach churn, begin/end churn: rates and counts capped; sessions ≤ channel-max, links ≤ handle-max, own small defaults (e.g. 255 sessions, 1000 links)",
      "ATK-9": "disposition first..last spanning 2^31: work proportional to own map",
      "ATK-10": "unsettled map huge; duplicate tags; incomplete-unsettled loops",
      "ATK-11": "Serial-number wrap at 2^32 in windows, credit, delivery ids; huge link-credit (2^32−1)",
      "ATK-12": "Idle-time-out 1 ms: floor (refuse), no timer storm. setTimeout above 2^31−1 ms fires at once: clamp",
      "ATK-13":
        "SASL: frames over the limit, endless challenges, SCRAM iteration bomb, downgrade by reordered mechanisms, ok without server signature, user enumeration by timing",
      "ATK-14":
        "Credential leaks: logs, error messages, `toString`, inspect, URLs (user info, query tokens), redirects to other hosts, Proxy-Authorization beyond the proxy. Redact by default",
      "ATK-15": "CR/LF/NUL injection in host, path, subprotocol, headers, proxy names, digest realm",
      "ATK-16":
        "HTTP: header floods, huge lines, obs-fold, bare LF, duplicate Content-Length, both Content-Length and Transfer-Encoding, slow headers; response splitting on our 4xx answers",
      "ATK-17":
        "WebSocket: huge u64 length, endless fragments of size 0/1, interleaved control floods, ping flood, compression bomb (extension off), unmasked frames, Close loops, no answer to Close",
      "ATK-18":
        "Buffer growth on slow consumers: honour back-pressure both ways, bounded send queue, `bufferedAmount` watch",
      "ATK-19": "Masking key or nonce from Math.random: forbidden; use CSPRNG",
      "ATK-20":
        "Cross-site WebSocket hijacking on the accepting side: cookies or client certificates sent by browsers; check Origin against an allow list, do not authenticate by cookie alone, SASL inside",
      "ATK-21": "Host header / `open.hostname` confusion: authorise on the value used for routing, refuse mismatch",
      "ATK-22": "Link stealing by a guessed container-id + link name: names scoped by authenticated identity",
      "ATK-23": "reply-to / dynamic addresses guessable: random ≥ 128 bits; response from others must not match",
      "ATK-24":
        "Anonymous-relay `to` bypassing per-node rights: authorise every message. user-id spoofing: server checks or drops",
      "ATK-25":
        "Prototype pollution: map keys `__proto__`, `constructor` in annotations, properties, application-properties: use Map or null-prototype objects",
      "ATK-26": 'Map key collision by stringifying (1 vs "1", symbol vs string): keep typed keys',
      "ATK-27": "UTF-8: overlong, lone surrogates, cut sequences over frame limits; symbol with bytes ≥ 0x80",
      "ATK-28":
        "TLS: verify names by default, no silent `rejectUnauthorized:false`; ws → credentials refused by default; redirect or failover to ws refused",
      "ATK-29": "SSRF through redirect/failover-list/proxy env: opt-in and host filter",
      "ATK-30":
        "Transaction abuse: undischarged transactions capped and timed; txn-id unguessable and bound to its connection",
      "ATK-31":
        "Regular expressions over peer data (selectors, header lists): linear only. Selector/SQL parser depth and length caps (RabbitMQ caps expression length)",
      "ATK-32": "Unhandled rejection/exception in a callback must not kill the process or leave a link half-open",
      "ATK-33":
        "Decode differential fuzzing: one byte flips and 1-byte splits over every frame type give the same result or a typed error, never a hang",
      "ATK-34":
        "Values decoded from one frame or message have a budget of objects and entries beside that of bytes: empty lists, maps and strings cost one to three bytes on the wire and 40 to 70 times as much in memory",
      "ATK-35":
        "Unfinished deliveries share a limit per connection and per acceptor; what is kept of open, begin and attach (properties, sources, unsettled maps) is counted against the connection",
      "ATK-36":
        "A frame's work and the events it makes are bounded: a disposition over a range is one event or is worked off in steps; one that changes nothing makes none",
      "ATK-37":
        "Silence of a peer is judged after what has arrived was read; a process that was suspended or busy first reads, then looks at the clock",
      "ATK-38":
        "Handshakes wait in a bounded line instead of being dropped; the oldest is never dropped for a newer one",
      "ATK-39":
        "A fault while a message is handed to one consumer (encode, size, state) settles that message and leaves queue, link and other connections as they were",
    },
  },
];

/** Why a requirement has no test that is named after it. */
export const reasons: Readonly<Record<string, string>> = {};

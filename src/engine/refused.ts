/**
 * A link of the peer that is refused without asking anybody.
 *
 * @module
 */

import type { AmqpError } from "../base/errors.ts";
import type { Role } from "../codec/types.ts";
import { LinkEndpoint } from "./link.ts";
import type { SessionEndpoint } from "./session.ts";

/** Answers the peer's attach with a refusal, and drops what still comes for it. */
export class RefusedEndpoint extends LinkEndpoint {
  /** Which end ours would be. */
  override readonly role: Role;
  readonly #error: AmqpError;

  /** Built by the session. */
  constructor(session: SessionEndpoint, name: string, handle: number, role: Role, error: AmqpError) {
    super(session, name, handle);
    this.role = role;
    this.#error = error;
  }

  /** {@inheritDoc LinkEndpoint.receiveFlow} */
  override receiveFlow(): void {}

  /** {@inheritDoc LinkEndpoint.describe} */
  override describe(): void {}

  /** {@inheritDoc LinkEndpoint.onLocalAttach} */
  protected override onLocalAttach(): void {}

  /** {@inheritDoc LinkEndpoint.onRemoteAttach} */
  protected override onRemoteAttach(): void {
    this.refuse(this.#error);
  }

  /** {@inheritDoc LinkEndpoint.onStop} */
  protected override onStop(): void {}
}

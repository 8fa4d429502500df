/** A user that has joined a topic. */
export interface Present {
  readonly user: string
  /** Data of the server about the user, such as a name. */
  readonly info?: unknown
}

/** The list of `@presence/TOPIC`, or one of its entries. */
interface Change {
  readonly members?: readonly Present[]
  /** Number of users, with a list and with `crowded`. */
  readonly users?: number
  readonly join?: Present
  readonly leave?: Present
  /** Whether the topic has more users than the server announces. */
  readonly crowded?: boolean
}

/**
 * Handles the list and the entries of `@presence/TOPIC`.
 *
 * @param notify - called once per turn with changes.
 * @param reload - called when the topic is no longer crowded.
 */
export function presenceOf(notify: (users: readonly Present[], count: number) => void, reload: () => void) {
  let users = new Map<string, Present>()
  /** Number of users that the list does not have. */
  let others = 0
  let isChanged = false

  return ({ members, users: count = 0, join, leave, crowded }: Change): void => {
    if (crowded === false) reload()
    if (members || crowded) {
      // A member is a connection, and a user may have several.
      users = new Map(members?.map(member => [member.user, member]))
      others = count - users.size
    }
    if (join) users.set(join.user, join)
    if (leave && !users.delete(leave.user)) others--
    if (!isChanged)
      queueMicrotask(() => {
        isChanged = false
        notify(others ? [] : [...users.values()], users.size + others)
      })
    isChanged = true
  }
}

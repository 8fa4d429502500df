import type { Duplex } from 'node:stream'
import type { PeerCertificate, TLSSocket } from 'node:tls'
import type { Certificate } from '../contract/peer.ts'
import { Tap } from './tap.ts'

/** What is wrong with the certificate that the peer has shown, in OpenSSL's word; `undefined`: nothing, or it has shown none. */
export function certificateProblem(socket: Duplex): string | undefined {
  const tls = tlsOf(socket)
  const shown = tls && shownBy(tls)
  if (shown === undefined) return undefined
  if (!tls!.authorized) return String(tls!.authorizationError ?? 'UNKNOWN')
  // A session that is resumed was checked when it began.
  return Date.parse(shown.valid_to) < Date.now() ? 'CERT_HAS_EXPIRED' : undefined
}

/** What the peer has proven to be; `undefined`: it has shown no certificate, or none that holds. */
export function certificateOf(socket: Duplex): Certificate | undefined {
  const tls = tlsOf(socket)
  const shown = tls && shownBy(tls)
  if (shown === undefined || certificateProblem(socket) !== undefined) return undefined
  return {
    subject: { ...shown.subject } as Certificate['subject'],
    issuer: { ...shown.issuer } as Certificate['issuer'],
    serialNumber: shown.serialNumber,
    fingerprint256: shown.fingerprint256,
    validTo: shown.valid_to,
  }
}

/** Whose certificate it is; `undefined`: it names nobody, or several. */
export function commonNameOf({ subject: { CN } }: Certificate): string | undefined {
  return typeof CN === 'string' && CN !== '' ? CN : undefined
}

function tlsOf(socket: Duplex): TLSSocket | undefined {
  const peer: unknown = socket instanceof Tap ? socket.socket : socket
  return (peer as TLSSocket).encrypted ? (peer as TLSSocket) : undefined
}

/** Of a resumed session without a certificate Node says `authorized`, too: only the certificate itself tells. */
function shownBy(tls: TLSSocket): PeerCertificate | undefined {
  const shown = tls.getPeerCertificate() as PeerCertificate | Record<string, never> | null
  return shown !== null && 'fingerprint256' in shown ? (shown as PeerCertificate) : undefined
}

/** Why a peer whose certificate does not hold is refused. */
export function badCertificate(problem: string): string {
  return `the client certificate does not hold (${problem}); see --ca`
}

import type { Duplex } from 'node:stream'
import type { PeerCertificate, TLSSocket } from 'node:tls'
import type { Certificate } from '../contract/peer.ts'
import { Tap } from './tap.ts'

/** OpenSSL's error code for an invalid client certificate; `undefined` for a valid one or none. */
export function certificateProblem(socket: Duplex): string | undefined {
  const tls = tlsOf(socket)
  const certificate = tls && peerCertificateOf(tls)
  if (certificate === undefined) return undefined
  if (!tls!.authorized) return String(tls!.authorizationError ?? 'UNKNOWN')
  // OpenSSL checked a resumed session only when it began.
  return Date.parse(certificate.valid_to) < Date.now() ? 'CERT_HAS_EXPIRED' : undefined
}

/** The valid client certificate of a connection; `undefined` if it has none. */
export function certificateOf(socket: Duplex): Certificate | undefined {
  const tls = tlsOf(socket)
  const certificate = tls && peerCertificateOf(tls)
  if (certificate === undefined || certificateProblem(socket) !== undefined) return undefined
  return {
    subject: { ...certificate.subject } as Certificate['subject'],
    issuer: { ...certificate.issuer } as Certificate['issuer'],
    serialNumber: certificate.serialNumber,
    fingerprint256: certificate.fingerprint256,
    validTo: certificate.valid_to,
  }
}

/** The common name of the subject; `undefined` unless there is exactly one. */
export function commonNameOf({ subject: { CN } }: Certificate): string | undefined {
  return typeof CN === 'string' && CN !== '' ? CN : undefined
}

function tlsOf(socket: Duplex): TLSSocket | undefined {
  const peer: unknown = socket instanceof Tap ? socket.socket : socket
  return (peer as TLSSocket).encrypted ? (peer as TLSSocket) : undefined
}

/** Not `authorized`: Node sets it also for a resumed session without a certificate. */
function peerCertificateOf(tls: TLSSocket): PeerCertificate | undefined {
  const certificate = tls.getPeerCertificate() as PeerCertificate | Record<string, never> | null
  return certificate !== null && 'fingerprint256' in certificate ? (certificate as PeerCertificate) : undefined
}

/** The reason for refusing an invalid client certificate. */
export function badCertificate(problem: string): string {
  return `the client certificate is not valid (${problem}); see --ca`
}

package mitm

// SizeLimit is the longest certificate message, in bytes, that a TLS client takes by default.
type SizeLimit struct {
	Client string
	Bytes  int
}

// sizeLimits, measured with leaves of 500 to 10,000 names: Java's jdk.tls.maxHandshakeMessageSize, OpenSSL's
// SSL_MAX_CERT_LIST_DEFAULT (curl, Python, Node.js), crypto/tls's maxHandshakeCertificateMsg.
func sizeLimits() []SizeLimit {
	return []SizeLimit{{"Java", 32 << 10}, {"OpenSSL", 100 << 10}, {"Go", 256 << 10}}
}

// TooLargeFor returns the clients that abort the handshake because the leaf has too many names. With names of 20 bytes
// Java stops at about 1,400 of them, OpenSSL at about 4,400.
func (l *Leaf) TooLargeFor() []SizeLimit {
	var exceeded []SizeLimit
	for _, limit := range sizeLimits() {
		if l.messageSize() > limit.Bytes {
			exceeded = append(exceeded, limit)
		}
	}
	return exceeded
}

// messageSize is the body of a TLS 1.3 Certificate message, RFC 8446 section 4.4.2: an empty context, the length of
// the list, and per certificate its length and no extensions.
func (l *Leaf) messageSize() int {
	size := 1 + 3 + 3 + len(l.cert.Raw) + 2
	for _, c := range l.chain {
		size += 3 + len(c.Raw) + 2
	}
	return size
}

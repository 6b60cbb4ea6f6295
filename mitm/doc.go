// Package mitm holds the certificates of interception: a policy's certificate authority, the leaf that Envoy
// shows to the workload, the decision what to renew, and the trust stores that make clients accept it.
//
// The package is pure. The clock and the source of randomness are parameters, and the same input gives the same
// bytes, so that a reconciler that repeats itself writes nothing new.
package mitm

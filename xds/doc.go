// Package xds turns a policy into an Envoy that enforces it.
//
// Compile makes a Plan of a policy. A Plan is rendered to the files that an Envoy mounts (Render) and evaluated for a
// single request (Evaluate); both read the same compiled rules, so explain and enforcement are one computation.
//
// The package is pure: no file system, no network, no clock.
package xds

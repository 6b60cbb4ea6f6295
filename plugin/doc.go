// Package plugin is the command line: kubectl netproxy. Each verb has a file of its own with its options, which are
// completed, validated and run.
package plugin

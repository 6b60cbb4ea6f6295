package plugin

import (
	"encoding/xml"
	"fmt"
	"os"

	"github.com/netproxy/netproxy/plugin/lab/attack"
)

// The parts of JUnit's format that CI systems read.
type (
	junitSuite struct {
		XMLName  xml.Name    `xml:"testsuite"`
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Class   string      `xml:"classname,attr"`
		Name    string      `xml:"name,attr"`
		Failure *junitEntry `xml:"failure,omitempty"`
		Skipped *junitEntry `xml:"skipped,omitempty"`
		Output  string      `xml:"system-out,omitempty"`
	}
	junitEntry struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// writeJUnit writes the report for a CI system. What no proxy can close is no failure there, as the exit code says too.
func (f frontingReport) writeJUnit(path string) error {
	suite := junitSuite{Name: "test-fronting " + f.Policy, Tests: len(f.Rows)}
	for _, row := range f.Rows {
		c := junitCase{Class: row.Category, Name: row.ID + ": " + row.Title}
		switch row.Result {
		case attack.Leak, attack.Fail:
			suite.Failures++
			c.Failure = &junitEntry{string(row.Result), fmt.Sprintf("expected %s, got %s\n%s", row.Expected, row.Got, row.Detail)}
		case attack.Skipped:
			suite.Skipped++
			c.Skipped = &junitEntry{row.Detail, ""}
		case attack.Open:
			c.Output = "OPEN: " + row.Advice
		}
		suite.Cases = append(suite.Cases, c)
	}
	data, err := xml.MarshalIndent(suite, "", "  ")
	if err != nil {
		return fmt.Errorf("--junit: %w", err)
	}
	if err := os.WriteFile(path, append([]byte(xml.Header), append(data, '\n')...), 0o644); err != nil {
		return fmt.Errorf("--junit: %w", err)
	}
	return nil
}

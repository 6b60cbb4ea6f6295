package v1alpha1

import (
	"regexp"
	"testing"
)

func TestNormalizePath(t *testing.T) {
	cases := map[string]string{
		"/":                  "/",
		"/v1/":               "/v1/",
		"/%61dmin/%7Euser":   "/admin/~user",
		"/a%3ab":             "/a:b",
		"/a;v=1/b,c":         "/a;v=1/b,c",
		"/.well-known/x":     "/.well-known/x",
		"/...":               "/...",
		"/%252F":             "/%252F",
		"/caf%c3%a9":         "/caf%C3%A9",
		"/a:b@c!$&'()*+,;=d": "/a:b@c!$&'()*+,;=d",
	}
	for in, want := range cases {
		if got, err := NormalizePath(in, RefuseEncodedSlashes); err != nil || got != want {
			t.Errorf("NormalizePath(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
	if got, err := NormalizePath("/a%2fb%5c", AllowEncodedSlashes); err != nil || got != "/a%2Fb%5C" {
		t.Errorf("with encoded slashes: %q, %v", got, err)
	}
}

func TestPathPattern(t *testing.T) {
	cases := []struct {
		path      string
		several   bool
		spellings []string
		others    []string
	}{
		{"/v1/models.json", false, []string{"/v1/models.json"}, []string{"/v1/modelsxjson"}},
		{"/a:b", true, []string{"/a:b", "/a%3Ab", "/a%3ab"}, []string{"/a%3Bb", "/a3Ab"}},
		{"/caf%C3%A9", true, []string{"/caf%C3%A9", "/caf%c3%a9", "/caf%c3%A9"}, []string{"/cafC3A9"}},
		{"/a%5B1%5D", true, []string{"/a%5B1%5D", "/a[1]", "/a[1%5d"}, []string{"/a1"}},
		{"/a(b)*", true, []string{"/a(b)*", "/a%28b%29%2a"}, []string{"/ab", "/a(b))"}},
		{"/a%2Fb", true, []string{"/a%2Fb", "/a%2fb"}, []string{"/a/b"}},
	}
	for _, c := range cases {
		pattern, several := PathPattern(c.path)
		if several != c.several {
			t.Errorf("%s: several spellings = %v, want %v", c.path, several, c.several)
		}
		whole := regexp.MustCompile("^(?:" + pattern + ")$")
		for _, s := range c.spellings {
			if !whole.MatchString(s) {
				t.Errorf("%s: %s does not match %s", c.path, s, pattern)
			}
		}
		for _, s := range c.others {
			if whole.MatchString(s) {
				t.Errorf("%s: %s matches %s", c.path, s, pattern)
			}
		}
	}
}

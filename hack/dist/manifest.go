package main

import (
	"fmt"
	"path"
	"strings"
	"text/template"
)

// renderManifest does to the template of krew-release-bot what the bot does, with archives that are not published yet.
func renderManifest(text, version string, sums map[string]string) (string, error) {
	tag := map[string]string{"TagName": version}
	address := func(url, _ string) (string, error) {
		url, err := execute(template.New("url"), url, tag)
		if err != nil {
			return "", err
		}
		sum, ok := sums[path.Base(url)]
		if !ok {
			return "", fmt.Errorf("%s names an archive that was not built", url)
		}
		return fmt.Sprintf("uri: %s\n    sha256: %s", url, sum), nil
	}
	out, err := execute(template.New(".krew.yaml").Funcs(template.FuncMap{"addURIAndSha": address}), text, tag)
	if err != nil {
		return "", err
	}
	_, out, _ = strings.Cut(out, "\napiVersion:") // the comment is about the template
	return "apiVersion:" + out, nil
}

func execute(t *template.Template, text string, data any) (string, error) {
	t, err := t.Parse(text)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	err = t.Execute(&out, data)
	return out.String(), err
}

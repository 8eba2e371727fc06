//! What holds for every report: well formed, nothing loaded, nothing that could run.

/// Checks that the page is well formed, loads nothing and can run nothing.
pub(crate) fn check(page: &str) -> Result<(), String> {
    if !page.contains("default-src 'none'; style-src 'unsafe-inline'; img-src data:") {
        return Err("no content policy".to_owned());
    }
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        if let Some(bad) = rest[..at].chars().find(|c| *c == '>' || (c.is_control() && *c != '\n')) {
            // A style sheet may use `>`.
            if open.last() != Some(&"style") {
                return Err(format!("{bad:?} in the text {:?}", &rest[..at]));
            }
        }
        let tag_end = end_of_tag(&rest[at..]).ok_or_else(|| format!("unfinished tag at {:?}", head(&rest[at..])))?;
        let tag = &rest[at + 1..at + tag_end];
        rest = &rest[at + tag_end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return Err(format!("`</{name}>` closes nothing, before {:?}", head(rest)));
            }
        } else if !tag.starts_with('!') {
            check_tag(tag)?;
            let name = tag.split([' ', '/']).next().unwrap_or_default();
            if !tag.ends_with('/') && name != "meta" {
                open.push(name);
            }
        }
    }
    if open.is_empty() { Ok(()) } else { Err(format!("left open: {open:?}")) }
}

/// Returns the place of the `>` that ends the tag at the start of `text`, passing over quoted values.
fn end_of_tag(text: &str) -> Option<usize> {
    let mut quoted = false;
    text.char_indices().find_map(|(at, c)| {
        quoted ^= c == '"';
        (c == '>' && !quoted).then_some(at)
    })
}

const TAGS: &[&str] = &[
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "header",
    "main",
    "section",
    "aside",
    "footer",
    "div",
    "p",
    "h1",
    "h2",
    "h3",
    "ul",
    "ol",
    "li",
    "dl",
    "dt",
    "dd",
    "table",
    "caption",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "figure",
    "figcaption",
    "details",
    "summary",
    "pre",
    "code",
    "span",
    "strong",
    "em",
    "bdi",
    "svg",
    "defs",
    "pattern",
    "g",
    "rect",
    "path",
    "circle",
    "text",
];
const ATTRIBUTES: &[&str] = &[
    "lang",
    "charset",
    "http-equiv",
    "content",
    "name",
    "class",
    "id",
    "title",
    "role",
    "tabindex",
    "aria-label",
    "aria-labelledby",
    "aria-hidden",
    "viewBox",
    "width",
    "height",
    "x",
    "y",
    "cx",
    "cy",
    "r",
    "d",
    "fill",
    "transform",
    "stroke-width",
    "patternUnits",
    "patternTransform",
];

/// Refuses a tag or an attribute that the templates do not use: none of them runs or loads anything.
fn check_tag(tag: &str) -> Result<(), String> {
    let (name, mut rest) = tag.trim_end_matches('/').split_once(' ').unwrap_or((tag.trim_end_matches('/'), ""));
    if !TAGS.contains(&name) {
        return Err(format!("tag `{name}` in {:?}", head(tag)));
    }
    while !rest.trim().is_empty() {
        let (key, value) = rest.trim_start().split_once("=\"").ok_or_else(|| format!("attribute without quotes in {:?}", head(tag)))?;
        let (value, after) = value.split_once('"').ok_or_else(|| format!("unfinished value in {:?}", head(tag)))?;
        if !ATTRIBUTES.contains(&key) || value.contains('<') {
            return Err(format!("attribute `{key}` = {value:?}"));
        }
        if key == "fill" && value != "url(#hatch)" {
            return Err(format!("fill {value:?}"));
        }
        rest = after;
    }
    Ok(())
}

fn head(text: &str) -> String {
    text.chars().take(80).collect()
}

#[test]
fn the_checker_sees_what_is_wrong() {
    let policy = "<meta content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">";
    assert_eq!(check(&format!("{policy}<p class=\"a > b\">x</p>")), Ok(()));
    for bad in [
        "<p>",
        "</p>",
        "<p><em></p></em>",
        "<script>1</script>",
        "<p onclick=\"x\"></p>",
        "<p class=x></p>",
        "a > b<p></p>",
        "<p",
        "\u{1b}<p></p>",
    ] {
        assert!(check(&format!("{policy}{bad}")).is_err(), "{bad}");
    }
    assert!(check("<p></p>").is_err());
}

//! HTML to the text a person would see, without what is quoted.
//!
//! A tokenizer and a few counters, no tree: nothing a sender nests can exhaust the stack, and what
//! is hidden, scripted or quoted is left out by the element that holds it.

use html5gum::{Token, Tokenizer};

use crate::text::{MAX_OWN_WORDS, STROKE};

/// The visible, unquoted text of `html`.
pub fn to_text(html: &str) -> String {
    text_of(html, Page::default())
}

/// The visible text of `html`, with what is quoted.
pub fn whole_text(html: &str) -> String {
    text_of(html, Page { keeps_quotes: true, ..Page::default() })
}

fn text_of(html: &str, mut page: Page) -> String {
    for token in Tokenizer::new(html).flatten() {
        if page.text.len() > 2 * MAX_OWN_WORDS || page.history {
            break;
        }
        match token {
            Token::StartTag(tag) => {
                let attribute = |name: &str| {
                    tag.attributes
                        .get(name.as_bytes())
                        .map(|value| String::from_utf8_lossy(value).to_ascii_lowercase())
                        .unwrap_or_default()
                };
                let marks = Marks {
                    class: attribute("class"),
                    id: attribute("id"),
                    style: attribute("style"),
                    hidden: tag.attributes.contains_key("hidden".as_bytes()),
                };
                page.open(&String::from_utf8_lossy(&tag.name), tag.self_closing, &marks);
            }
            Token::EndTag(tag) => page.close(&String::from_utf8_lossy(&tag.name)),
            Token::String(text) => page.write(&String::from_utf8_lossy(&text)),
            _ => {}
        }
    }
    page.text
}

struct Marks {
    class: String,
    id: String,
    style: String,
    hidden: bool,
}

#[derive(Default)]
struct Page {
    text: String,
    /// The element that is being left out, and how many of its name are open inside it.
    skipped: Option<(String, usize)>,
    /// Quoted history has begun that no element encloses.
    history: bool,
    preformatted: usize,
    /// What is quoted is wanted as well.
    keeps_quotes: bool,
}

impl Page {
    fn open(&mut self, name: &str, self_closing: bool, marks: &Marks) {
        // The end tag of a head may be missing (WHATWG 13.1.2.4): what is shown begins with the body.
        if name == "body" && self.skipped.as_ref().is_some_and(|(skipped, _)| skipped == "head") {
            self.skipped = None;
        }
        if is_void(name) || self_closing && !is_block(name) && name != "blockquote" {
            if self.skipped.is_none() {
                match name {
                    "br" => self.text.push('\n'),
                    "hr" if marks.id == "stopspelling" && !self.keeps_quotes => self.history = true,
                    "hr" => self.line(),
                    _ => {}
                }
            }
            return;
        }
        if let Some((skipped, depth)) = &mut self.skipped {
            if skipped == name {
                *depth += 1;
            }
            return;
        }
        // Outlook puts the quoted mail behind these, not into them.
        let heads_quote = marks.id.ends_with("divrplyfwdmsg") || marks.id.ends_with("appendonsend");
        if heads_quote && !self.keeps_quotes {
            self.history = true;
            return;
        }
        if is_unseen(name, marks) || is_quote(name, marks) && !self.keeps_quotes {
            self.skipped = Some((name.to_owned(), 1));
            self.line();
            return;
        }
        match name {
            "pre" => self.preformatted += 1,
            "td" | "th" => self.text.push(' '),
            // What is struck through is no answer.
            "s" | "del" | "strike" => self.text.push(STROKE),
            "li" => {
                self.line();
                self.text.push_str("- ");
            }
            _ => {}
        }
        if is_paragraph(name) {
            self.line();
            self.text.push('\n');
        } else if is_block(name) {
            self.line();
        }
        if marks.style.contains("line-through") {
            self.text.push(STROKE);
        }
    }

    fn close(&mut self, name: &str) {
        if let Some((skipped, depth)) = &mut self.skipped {
            if skipped == name {
                *depth -= 1;
                if *depth == 0 {
                    self.skipped = None;
                }
            }
            return;
        }
        if name == "pre" {
            self.preformatted = self.preformatted.saturating_sub(1);
        }
        if is_block(name) || is_paragraph(name) {
            self.line();
            if is_paragraph(name) {
                self.text.push('\n');
            }
        }
    }

    fn write(&mut self, text: &str) {
        if self.skipped.is_some() {
            return;
        }
        if self.preformatted > 0 {
            self.text.push_str(text);
            return;
        }
        for c in text.chars() {
            if !c.is_whitespace() || c == '\u{a0}' {
                self.text.push(if c == '\u{a0}' { ' ' } else { c });
            } else if !self.text.ends_with([' ', '\n']) && !self.text.is_empty() {
                self.text.push(' ');
            }
        }
    }

    /// Begins a line, if one is not just begun.
    fn line(&mut self) {
        self.text.truncate(self.text.trim_end_matches(' ').len());
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
    }
}

fn is_void(name: &str) -> bool {
    matches!(
        name,
        "br" | "hr"
            | "img"
            | "input"
            | "meta"
            | "link"
            | "area"
            | "base"
            | "col"
            | "embed"
            | "source"
            | "track"
            | "wbr"
    )
}

fn is_paragraph(name: &str) -> bool {
    matches!(name, "p" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "ul" | "ol" | "table")
}

fn is_block(name: &str) -> bool {
    is_paragraph(name)
        || matches!(
            name,
            "div"
                | "tr"
                | "li"
                | "section"
                | "article"
                | "header"
                | "footer"
                | "pre"
                | "address"
                | "center"
                | "form"
                | "dl"
                | "dt"
                | "dd"
                | "body"
        )
}

/// What another person wrote.
fn is_quote(name: &str, marks: &Marks) -> bool {
    let quoted = [
        "gmail_quote",
        "gmail_attr",
        "gmail_extra",
        "moz-cite-prefix",
        "yahoo_quoted",
        "protonmail_quote",
        "zmail_extra",
        "tutanota_quote",
    ];
    name == "blockquote" || marks.class.split_ascii_whitespace().any(|class| quoted.contains(&class))
}

/// What a person does not see.
fn is_unseen(name: &str, marks: &Marks) -> bool {
    if matches!(
        name,
        "script"
            | "style"
            | "head"
            | "title"
            | "template"
            | "noscript"
            | "select"
            | "textarea"
            | "svg"
            | "object"
    ) || marks.hidden
    {
        return true;
    }
    let style: String = marks.style.chars().filter(|c| !c.is_whitespace()).collect();
    style.contains("display:none")
        || style.contains("visibility:hidden")
        || style.contains("mso-hide:all")
        || style.split(';').any(|rule| {
            matches!(
                rule,
                "font-size:0"
                    | "font-size:0px"
                    | "font-size:0pt"
                    | "opacity:0"
                    | "max-height:0"
                    | "max-height:0px"
            )
        })
}

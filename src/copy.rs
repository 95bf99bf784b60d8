//! The copy of a person's data that is handed out: what the systems have collected, without what never
//! leaves by mail, as JSON for a program and as text for a person (GDPR art. 15(3) and 20(1)).

use serde_json::{Map, Value};

/// Nesting deeper than this is left out of the text; the JSON has it.
const DEEPEST: usize = 16;

/// A copy, ready to be attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// For a program.
    pub json: Vec<u8>,
    /// For a person.
    pub text: String,
    /// Names of fields that were withheld, each once, in order.
    pub withheld: Vec<String>,
    /// Names of all fields, each once, in order: the categories of data.
    pub categories: Vec<String>,
}

/// Which fields are withheld.
#[derive(Debug, Clone, Default)]
pub struct Withheld {
    /// Words with a blank on each side.
    words: Vec<String>,
    /// The name, without blanks, of the field that nobody is told of.
    unsaid: Option<String>,
}

impl Withheld {
    /// Those in whose name one of `words` stands.
    pub fn new(words: &[String]) -> Self {
        let words = words.iter().map(|word| spaced(word)).filter(|word| !word.trim().is_empty());
        Self { words: words.collect(), unsaid: None }
    }

    /// The same, and those in whose name `word` stands; of the one that is called so not even that there is any is
    /// told.
    pub fn and_unsaid(mut self, word: &str) -> Self {
        let word = spaced(word);
        self.unsaid = Some(squeezed(&word)).filter(|name| !name.is_empty());
        self.words.extend(self.unsaid.is_some().then_some(word));
        self
    }

    /// Whether a field of this name is.
    pub fn is(&self, name: &str) -> bool {
        let name = spaced(name);
        let squeezed = squeezed(&name);
        self.words.iter().any(|word| stands_in(word, &name, &squeezed))
    }

    /// Of the whole name alone: what is left out must be told, but for this.
    fn is_unsaid(&self, name: &str) -> bool {
        self.unsaid.as_ref().is_some_and(|unsaid| *unsaid == squeezed(&spaced(name)))
    }
}

/// Whether a word stands in a field's name, both with a blank on each side; `squeezed_name` is that without any.
fn stands_in(word: &str, name: &str, squeezed_name: &str) -> bool {
    let bare = squeezed(word);
    // Names are written together too: "bankaccountnumber". A short word may stand in another by chance, "ssn" in
    // "business name", and so may a short end: "account no" in "accountnotes".
    let ends_long = word.split_whitespace().next_back().is_some_and(|it| it.chars().count() > 2);
    let is_long = bare.chars().count() >= 6 && ends_long;
    name.contains(word) || squeezed_name == bare || is_long && squeezed_name.contains(&bare)
}

/// Spaced words without their blanks.
fn squeezed(spaced: &str) -> String {
    spaced.replace(' ', "")
}

/// A name as words with a blank on each side: "accountNumber2" is " account number 2 ".
fn spaced(name: &str) -> String {
    let mut words = String::from(" ");
    let mut before = ' ';
    for c in name.chars() {
        let is_new = c.is_uppercase() && before.is_lowercase()
            || before.is_alphanumeric() && c.is_alphanumeric() && before.is_numeric() != c.is_numeric();
        if is_new {
            words.push(' ');
        }
        before = c;
        match c.is_alphanumeric() {
            true => words.extend(c.to_lowercase()),
            false if !words.ends_with(' ') => words.push(' '),
            false => {}
        }
    }
    if !words.ends_with(' ') {
        words.push(' ');
    }
    words
}

/// The copy of what `collected` says, by system.
pub fn copy(collected: Vec<(String, Value)>, withheld: &Withheld) -> Copy {
    let mut taken = Vec::new();
    let mut categories = Vec::new();
    let sources: Map<String, Value> = collected
        .into_iter()
        .map(|(source, data)| (source, without(data, withheld, &mut taken, &mut categories)))
        .collect();
    let mut text = String::new();
    for (source, data) in &sources {
        text.push_str(&format!("{source}\n{}\n", "=".repeat(source.chars().count())));
        lines(data, 0, &mut text);
        text.push('\n');
    }
    let json = serde_json::to_vec_pretty(&Value::Object(sources)).unwrap_or_default();
    for list in [&mut taken, &mut categories] {
        list.sort();
        list.dedup();
    }
    Copy { json, text, withheld: taken, categories }
}

fn without(data: Value, withheld: &Withheld, taken: &mut Vec<String>, categories: &mut Vec<String>) -> Value {
    match data {
        Value::Object(fields) => {
            let mut left = Map::new();
            for (name, value) in fields {
                // Of an empty field nothing is held.
                let is_told = !withheld.is_unsaid(&name) && !is_empty(&value);
                let has_fields = |value: &Value| value.is_object() || value.is_array();
                let is_field = match &value {
                    Value::Object(_) => false,
                    Value::Array(list) => !list.iter().any(has_fields),
                    _ => true,
                };
                let is_withheld = withheld.is(&name);
                if is_told && (is_field || is_withheld) && is_category(&name) {
                    categories.push(name.clone());
                }
                if !is_withheld {
                    left.insert(name, without(value, withheld, taken, categories));
                } else if is_told {
                    taken.push(name);
                }
            }
            Value::Object(left)
        }
        Value::Array(list) => {
            list.into_iter().map(|value| without(value, withheld, taken, categories)).collect()
        }
        value => value,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether the name of a field is that of a category of data: a map may have somebody's data as its names.
fn is_category(name: &str) -> bool {
    name.len() <= 60 && name.chars().all(|c| c.is_alphabetic() || " _-".contains(c))
}

/// The lines of a value: names, colons, indents.
fn lines(value: &Value, depth: usize, text: &mut String) {
    if depth > DEEPEST {
        return;
    }
    let indent = "  ".repeat(depth);
    let pair = |name: &str, value: &Value, text: &mut String| match value {
        Value::Object(_) | Value::Array(_) => {
            text.push_str(&format!("{indent}{name}:\n"));
            lines(value, depth + 1, text);
        }
        Value::String(value) => text.push_str(&format!("{indent}{name}: {value}\n")),
        value => text.push_str(&format!("{indent}{name}: {value}\n")),
    };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| pair(name, value, text)),
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(index, value)| pair(&format!("{}", index + 1), value, text));
        }
        value => text.push_str(&format!("{indent}{value}\n")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn withheld() -> Withheld {
        let words = ["account number", "account no", "IBAN", "ssn", "password"].map(str::to_owned);
        Withheld::new(&words).and_unsaid("legal_hold")
    }

    #[test]
    fn what_is_unsaid_or_empty_is_not_told() {
        let shop = json!({ "name": "Jane", "Legal hold": "yes", "ssn": "", "phone": null, "tags": [], "password": "x" });
        let copy = copy(vec![("shop".into(), shop)], &withheld());
        assert_eq!(
            (copy.withheld, copy.categories),
            (vec!["password".into()], vec!["name".into(), "password".into()])
        );
        assert!(!copy.text.contains("egal"), "{}", copy.text);
    }

    #[test]
    fn what_stands_beside_a_hold_is_withheld_and_told() {
        let crm = json!({
            "legalHold": "yes", "legal_hold_reason": "Doe v. Example", "legal_hold_since": "2026-01-02", "hold": "music",
        });
        let copy = copy(vec![("crm".into(), crm)], &withheld());
        assert_eq!(copy.withheld, ["legal_hold_reason", "legal_hold_since"]);
        assert_eq!(copy.categories, ["hold", "legal_hold_reason", "legal_hold_since"]);
        assert_eq!(copy.text, "crm\n===\nhold: music\n\n");
        assert_eq!(Withheld::new(&[]).and_unsaid(" - ").unsaid, None);
        assert!(!Withheld::new(&[]).and_unsaid(" - ").is("anything"));
    }

    #[test]
    fn names_are_compared_by_their_words() {
        for name in [
            "IBAN",
            "iban2",
            "iBan",
            "accountno",
            "accountNumber2",
            "bankaccountnumber",
            "accountNumber",
            "account_number",
            "Account-Number",
            "old account number",
            "SSN",
            "accountnumbers",
            "password2",
            "passwordhash",
            "ssn",
            "Password",
            "account_no",
            "legalHold",
        ] {
            assert!(withheld().is(name), "{name}");
        }
        for name in
            ["account", "number", "businessName", "classname", "account_notes", "accountnotes", "cubano", ""]
        {
            assert!(!withheld().is(name), "{name}");
        }
        assert!(!Withheld::new(&["".into(), " - ".into()]).is("anything"));
    }

    #[test]
    fn what_never_leaves_is_named_and_left_out() {
        let shop = json!({
            "name": "Jane",
            "orders": [{ "item": "boots", "account_number": "47110815" }],
            "login": { "password": "hunter2", "since": 2019 },
        });
        let copy =
            copy(vec![("shop".into(), shop), ("crm".into(), json!({ "ssn": "078-05-1120" }))], &withheld());
        let json: Value = serde_json::from_slice(&copy.json).unwrap();
        assert_eq!(
            json,
            json!({
                "crm": {},
                "shop": { "login": { "since": 2019 }, "name": "Jane", "orders": [{ "item": "boots" }] },
            })
        );
        assert_eq!(copy.withheld, ["account_number", "password", "ssn"]);
        assert_eq!(copy.categories, ["account_number", "item", "name", "password", "since", "ssn"]);
        for secret in ["47110815", "hunter2", "078-05-1120"] {
            assert!(!copy.text.contains(secret));
        }
        assert_eq!(
            copy.text,
            "crm\n===\n\nshop\n====\nlogin:\n  since: 2019\nname: Jane\norders:\n  1:\n    item: boots\n\n"
        );
    }

    #[test]
    fn depth_does_no_harm() {
        let deep = (0..100).fold(json!(1), |inner, _| json!({ "in": inner }));
        assert!(copy(vec![("x".into(), deep)], &withheld()).text.lines().count() < 25);
    }
}

//! What somebody says to our question whether a request is theirs: yes, no, or never mind.
//!
//! People write back in free text instead of following instructions, so the words are read; but only
//! a clear yes sets something in motion. An absence note that quotes our question says neither yes nor
//! no, and so does nothing.

use regex::bytes::RegexSet;

use crate::language::LanguageFile;
use crate::text::{compile_set, fold, pattern, sentences};

/// An answer to our question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// It is theirs, go on.
    Yes,
    /// They never asked for it.
    No,
    /// They asked, and take it back.
    NeverMind,
    /// Not a word of their own: the mail was just sent back.
    Nothing,
    /// Neither, or both.
    Unclear,
}

/// The words of an answer in every language known.
#[derive(Debug)]
pub struct Answers {
    yes: RegexSet,
    no: RegexSet,
    never_mind: RegexSet,
}

impl Answers {
    /// Compiles the words of `languages`.
    ///
    /// # Errors
    /// The pattern that does not compile.
    pub fn new(languages: &[&LanguageFile]) -> Result<Self, regex::Error> {
        let set = |words: fn(&LanguageFile) -> &Vec<String>| {
            compile_set(languages.iter().flat_map(|language| words(language)).map(|p| pattern(p)))
        };
        Ok(Self {
            yes: set(|language| &language.answer.yes)?,
            no: set(|language| &language.answer.no)?,
            never_mind: set(|language| &language.answer.never_mind)?,
        })
    }

    /// What `own_words` say. Denial wins over withdrawal; with either of them a yes is unclear.
    pub fn read(&self, own_words: &str) -> Said {
        if own_words.trim().is_empty() {
            return Said::Nothing;
        }
        let text = sentences(&fold(own_words));
        let says = |set: &RegexSet| set.is_match(text.as_bytes());
        match (says(&self.yes), says(&self.no), says(&self.never_mind)) {
            (true, false, false) => Said::Yes,
            (false, true, _) => Said::No,
            (false, false, true) => Said::NeverMind,
            _ => Said::Unclear,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Table;

    #[test]
    fn answers_are_told_apart() {
        let table = Table::load(None).expect("the built-in rules");
        let languages: Vec<&LanguageFile> = table.languages.iter().map(|(_, file)| file).collect();
        let answers = Answers::new(&languages).expect("the built-in answers");
        let check = |said: Said, texts: &[&str]| {
            for text in texts {
                assert_eq!(answers.read(text), said, "{text:?}");
            }
        };
        check(
            Said::Yes,
            &[
                "Yes",
                "YES PLEASE!!",
                "yes, that was me",
                "Hi,\n\nyes I confirm.\n\nJane",
                "That was me, please go ahead.",
                "I hereby confirm my request.",
                "ok, do it",
                "Confirmed. Thanks",
                "Ja",
                "Ja, das war ich.",
                "Hiermit bestätige ich die Anfrage.",
                "Ja bitte, vielen Dank",
                "Oui, c'est bien moi.",
                "Je confirme ma demande. Cordialement",
                "Sí, fui yo",
                "Lo confirmo, gracias",
            ],
        );
        check(
            Said::No,
            &[
                "No",
                "No, I did not ask for this!",
                "this wasn't me",
                "I never requested that. Who did this?",
                "I didn't send you any request",
                "Please do not delete anything.",
                "Nein, das war ich nicht.",
                "Das habe ich nie beantragt.",
                "Ich habe keine Löschung verlangt",
                "Non, ce n'est pas moi !",
                "Je n'ai jamais demandé cela.",
                "No fui yo",
                "Yo no he pedido eso",
            ],
        );
        check(
            Said::NeverMind,
            &[
                "Please cancel my request.",
                "I changed my mind.",
                "I would like to withdraw this request",
                "Ich ziehe meine Anfrage zurück.",
                "Ich habe es mir anders überlegt",
                "J'ai changé d'avis.",
                "Annulez ma demande.",
                "He cambiado de opinión",
                "Cancelen mi solicitud",
            ],
        );
        check(Said::Nothing, &["", " \n "]);
        check(
            Said::Unclear,
            &[
                "Who are you?",
                "I am out of the office until Monday and will answer then.",
                "Thank you for your mail. We have received your message.",
                "Ich bin bis Montag nicht im Büro.",
                "Je suis absent jusqu'au 3 mars.",
                "Estoy de vacaciones hasta el lunes.",
                "Yes, but do not delete my invoices",
                "ok who is this",
                "What happens to my orders if I say yes?",
                "My customer number is 4711.",
            ],
        );
    }
}

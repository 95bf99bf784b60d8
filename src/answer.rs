//! What somebody says to our question whether a request is theirs: yes, no, or never mind.
//!
//! People write back in free text instead of following instructions, so the words are read; but only
//! a clear yes sets something in motion. An absence note that quotes our question says neither yes nor
//! no, and so does nothing.

use crate::language::LanguageFile;
use crate::patterns::Patterns;
use crate::text::{fold, pattern, sentences};

/// So many words may stand beside numbers in a line of a list of data: "phone", "my customer number is", "name Jane Doe".
const MOST_IN_A_LINE: usize = 4;

/// An answer to our question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// It is theirs, go on.
    Yes,
    /// The same, and something that may be the data we asked for.
    YesAndData,
    /// The same in a list of which not every word is understood: good for nothing but what data was asked for.
    YesAndList,
    /// They never asked for it.
    No,
    /// They asked, and take it back.
    NeverMind,
    /// Not a word of their own. Many a program sends a mail back so; it is no yes.
    Nothing,
    /// Anything else, or several of these.
    Unclear,
}

/// The words of an answer in every language known.
#[derive(Debug)]
pub struct Answers {
    yes: Patterns,
    no: Patterns,
    never_mind: Patterns,
    polite: Patterns,
    data: Patterns,
    closing: Patterns,
    thanks: Patterns,
}

impl Answers {
    /// Takes the words of `languages`.
    pub fn new(languages: &[&LanguageFile]) -> Self {
        let set = |words: fn(&LanguageFile) -> &Vec<String>| {
            let patterns = languages.iter().flat_map(|language| words(language));
            let whole = |phrase: &String| format!("^((hi|hello|hey|hallo|bonjour|hola),? )?({phrase})$");
            Patterns::new(patterns.map(|phrase| pattern(&whole(phrase))))
        };
        Self {
            yes: set(|language| &language.answer.yes),
            no: set(|language| &language.answer.no),
            never_mind: set(|language| &language.answer.never_mind),
            polite: set(|language| &language.answer.polite),
            data: set(|language| &language.answer.data),
            closing: set(|language| &language.answer.closing),
            thanks: set(|language| &language.answer.thanks),
        }
    }

    /// What somebody says besides the changes of data that their mail asks for. Courtesy alone says nothing.
    pub fn read_besides(&self, rest: &str) -> Said {
        match self.read(rest) {
            Said::Unclear if self.is_courtesy(rest) => Said::Nothing,
            // What looks like data is no change that was understood.
            Said::YesAndData | Said::YesAndList => Said::Unclear,
            said => said,
        }
    }

    /// Whether there is nothing in `words` but thanks, and a closing. Other courtesy has room for more: "Hi, please wait".
    pub fn is_thanks(&self, words: &str) -> bool {
        let text = sentences(&fold(words));
        let is = |set: &Patterns, line: &str| set.is_match(line.as_bytes());
        let signed = text.rsplit_once('\n').filter(|(_, last)| is(&self.closing, last));
        let thanks = signed.map_or(text.as_str(), |(thanks, _)| thanks);
        !thanks.is_empty() && thanks.lines().all(|line| is(&self.thanks, line))
    }

    /// What stands beside a yes in `words`: its parts between commas, stops and ends of lines, without a closing at their
    /// end and a name behind it, words of the `sender`'s own, their name and the local part of their address. A closing
    /// with anything else in its part is none: "regards, but wait". `None` where no part is a yes as a whole.
    pub fn beside_yes(&self, words: &str, sender: &str) -> Option<Vec<String>> {
        let name = name_words(sender.get(..sender.floor_char_boundary(LONGEST_NAME)).unwrap_or_default());
        let is_name = |part: &str| {
            let is_plain = part.chars().all(|sign| sign.is_alphabetic() || " -'’".contains(sign));
            if part.len() > LONGEST_NAME || !is_plain {
                return false;
            }
            let words = name_words(part);
            !words.is_empty() && words.iter().all(|word| name.contains(word))
        };
        let text = fold(words);
        let ends = ['\n', ',', '.', '!', ';', '、', '，', '。'];
        let parts = text.split(ends).map(str::trim).filter(|part| !part.is_empty());
        let mut parts: Vec<String> = parts.map(str::to_owned).collect();
        if parts.len() > 1 {
            parts.pop_if(|part| is_name(part));
        }
        if parts.len() > 1 {
            parts.pop_if(|part| is_made_of(&self.closing, part, is_name));
        }
        let all = parts.len();
        parts.retain(|part| !is_made_of(&self.yes, part, |_| false));
        let has_yes = parts.len() < all;
        parts.retain(|part| !self.thanks.is_match(part.as_bytes()));
        has_yes.then_some(parts)
    }

    /// Whether there is nothing in `words` but a greeting, thanks, and a closing with a name of few words.
    pub fn is_courtesy(&self, words: &str) -> bool {
        let text = sentences(&fold(words));
        let lines: Vec<&str> = text.lines().collect();
        let is = |set: &Patterns, line: &str| set.is_match(line.as_bytes());
        let end = lines.iter().position(|line| is(&self.closing, line)).unwrap_or(lines.len());
        let is_short = |line: &&str| line.split_whitespace().count() <= 4;
        lines.len() - end <= 4
            && lines.iter().take(end).all(|line| is(&self.polite, line))
            && lines.iter().skip(end + 1).all(is_short)
    }

    /// What `own_words` say. A yes counts only when every sentence is understood: "we confirm the receipt
    /// of your mail" is none, nor is "yes, but". Denial wins over withdrawal.
    pub fn read(&self, own_words: &str) -> Said {
        if own_words.trim().is_empty() {
            return Said::Nothing;
        }
        let text = fold(own_words);
        // "Yes. 10115" is two sentences; elsewhere a full stop before a digit ends none.
        match self.read_sentences(&sentences(&text.replacen(". ", ".\n\n", 1)), false) {
            Said::Unclear => match self.read_sentences(&sentences(&listed(&text)), true) {
                Said::YesAndData => Said::YesAndList,
                _ => Said::Unclear,
            },
            said => said,
        }
    }

    /// The same of sentences, each in a line; or, in a list, of lines that are short beside their numbers.
    fn read_sentences(&self, text: &str, is_list: bool) -> Said {
        let lines: Vec<&str> = text.lines().collect();
        let is = |set: &Patterns, line: &str| set.is_match(line.as_bytes());
        let any = |set: &Patterns| lines.iter().any(|line| is(set, line));
        let (yes, no, never_mind) = (any(&self.yes), any(&self.no), any(&self.never_mind));
        match (yes, no, never_mind) {
            (false, true, _) => return Said::No,
            (false, false, true) => return Said::NeverMind,
            (true, false, false) => {}
            _ => return Said::Unclear,
        }
        // Behind the closing, or in the last line, a name of few words.
        let end = lines.iter().position(|line| is(&self.closing, line)).unwrap_or(lines.len());
        let words = |line: &str| line.split_whitespace().count();
        if lines.len() - end > 4 || lines.iter().skip(end + 1).any(|line| words(line) > 4) {
            return Said::Unclear;
        }
        let mut data = false;
        for (index, line) in lines.iter().take(end).enumerate() {
            let is_name = index + 1 == lines.len()
                && index > 0
                && words(line) <= 2
                && line.chars().all(|c| c.is_alphabetic() || c == ' ' || c == '-');
            // Where a language has polite forms that take anything, data may be in one.
            let is_named = is_list && is(&self.data, line);
            if !is_named && (is(&self.yes, line) || is(&self.polite, line) || is_name) {
                continue;
            }
            let is_number = |word: &&str| word.bytes().any(|byte| byte.is_ascii_digit());
            let is_data = !line.contains('?')
                && match is_list {
                    false => line.split_whitespace().any(|word| is_number(&word)),
                    true => line.split_whitespace().filter(|word| !is_number(word)).count() <= MOST_IN_A_LINE,
                };
            if !is(&self.data, line) && !is_data {
                return Said::Unclear;
            }
            data = true;
        }
        if data { Said::YesAndData } else { Said::Yes }
    }
}

/// Whether there is nothing in `part` but what `set` matches, one behind the other, and behind them words that may be there:
/// the shortest of it each time, since some of the patterns have room for any word at their end.
fn is_made_of(set: &Patterns, part: &str, may_be_behind: impl Fn(&str) -> bool) -> bool {
    const MOST_WORDS: usize = 8;
    let words: Vec<&str> = part.split_whitespace().collect();
    let mut from = 0;
    let shortest = |from: usize| {
        (from + 1..=words.len().min(from + MOST_WORDS)).find(|to| {
            let words = words.get(from..*to).unwrap_or_default().join(" ");
            set.is_match(words.as_bytes())
        })
    };
    while let Some(to) = shortest(from) {
        from = to;
    }
    from > 0 && words.get(from..).is_some_and(|rest| rest.iter().all(|word| may_be_behind(word)))
}

/// A name is no longer than this (bytes), with the local part of an address.
const LONGEST_NAME: usize = 200;

/// The words of a name, folded, without their marks.
fn name_words(text: &str) -> Vec<String> {
    let folded = fold(text);
    let words = folded.split(|sign: char| !sign.is_alphabetic()).filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

/// Folded text in which a list of data is one of sentences: behind a yes, each in a line of its own, behind its name.
fn listed(text: &str) -> String {
    let first = text.find(", ").into_iter().chain(text.find(['、', '，'])).min();
    let (head, tail) = text.split_at(first.unwrap_or(0));
    let tail = tail.trim_start_matches([',', '、', '，', ' ']);
    let text = if head.is_empty() { tail.to_owned() } else { format!("{head}\n{tail}") };
    text.replace('\n', "\n\n").replace([':', '：'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Table;

    #[test]
    fn answers_are_told_apart() {
        let table = Table::load(None).expect("the built-in rules");
        let languages: Vec<&LanguageFile> = table.languages.iter().map(|(_, file)| file).collect();
        let answers = Answers::new(&languages);
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
                "Sì",
                "Sì, sono stato io. Grazie",
                "Buongiorno,\n\nconfermo la mia richiesta.\n\nCordiali saluti\nAda",
                "Sim, fui eu",
                "Confirmo o meu pedido. Obrigada",
                "SIM",
                "Ja, dat was ik.",
                "Hierbij bevestig ik mijn verzoek.\n\nGroeten, Ada",
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
                "No, non sono stato io",
                "Non ho mai chiesto nulla.",
                "Não fui eu",
                "Eu não pedi isso.",
                "Nee, dat was ik niet.",
                "Ik heb dat nooit gevraagd",
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
                "Ho cambiato idea",
                "Annullate la mia richiesta, grazie",
                "Mudei de ideias",
                "Cancelem o meu pedido",
                "Ik trek mijn verzoek in",
                "Laat maar",
            ],
        );
        check(Said::Nothing, &["", " \n "]);
        check(
            Said::YesAndData,
            &[
                "Yes. My number is 470 011 and my postcode 10115X",
                "Ja.\nMeine Kundennummer ist 4711",
                "Yes. 10115x, tel. 0049",
            ],
        );
        check(
            Said::YesAndList,
            &[
                "YES\n\nphone: +49 30 1234567\npostcode: 10115",
                "YES.\nPhone: +49 30 1234567",
                "Yes, my phone is +49 30 1234567",
                "YES\n+49 30 1234567\n10115",
                "Yes\nName: Jane Doe\n\nKind regards\nJane",
                "Ja, meine Telefonnummer ist 030 1234567",
                "Ja\nPostleitzahl: 10115",
                "Oui, mon numéro est 0612345678",
                "はい、電話番号は0312345678です",
                "Yes, but keep order 4711",
            ],
        );
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
                "Yes, but keep the invoice 4711 of my last order",
                // Receipts confirm something too.
                "We confirm the receipt of your e-mail. Our team will get back to you.",
                "We confirm that your message has arrived.",
                "Hiermit bestätigen wir den Eingang Ihrer Nachricht.",
                "Gerne bestätigen wir den Eingang Ihrer E-Mail.",
                "Nous confirmons la bonne réception de votre message.",
                "Confirmamos la recepción de su mensaje.",
                "Confermiamo la ricezione della sua richiesta.",
                "Confirmamos a receção do seu pedido.",
                "Hierbij bevestigen wij de ontvangst van uw bericht.",
                "Sono in ferie fino a lunedì.",
                "Estou de férias até segunda-feira.",
                "Ik ben tot maandag niet op kantoor.",
                // Doubts, questions, conditions.
                "I don't think that was me.",
                "I doubt that this was me, who are you?",
                "Please advise how to proceed.",
                "Do nothing before I tell you to go ahead.",
                "I can confirm that this request is not from me.",
                "Yes. Please wait until I have saved my photos.",
                "Yes. Who are you?",
                // No denials of the request.
                "Please do not ignore my request any longer!",
                "You cannot just ignore my request.",
                "Please hurry. And do not process my data for anything else meanwhile.",
                "I never wanted your newsletter in the first place, so delete everything soon.",
                "I did not send you my passport because you did not ask.",
            ],
        );
    }

    #[test]
    fn a_closing_and_the_name_below_it_are_left_out() {
        let table = Table::load(None).expect("the built-in rules");
        let languages: Vec<&LanguageFile> = table.languages.iter().map(|(_, file)| file).collect();
        let answers = Answers::new(&languages);
        for words in [
            "Yes\n10115\n\nKind regards,\nJane Doe\n",
            "Yes\n10115\n\nBest regards\nJane",
            "Yes\n10115\n\nKind regards Jane",
            "Yes. 10115, Jane",
            "Yes, that was me. 10115. Thank you",
            "Yes\n10115\n\nThanks,\nJane",
            "Yes\n10115\n\nMit freundlichen Grüßen\n\nJane",
            "Yes\n10115",
        ] {
            assert_eq!(answers.beside_yes(words, "Jane jane.doe").expect("a yes"), ["10115"], "{words}");
        }
        // What stands beside a closing, or below it, may be more than a name.
        for words in [
            "Yes\n10115\nRegards\nP.S.: keep order 4711",
            "Yes\n10115\nKind regards\nbut wait until Friday",
            "Yes\n10115\nDon't. Kind regards\nJane",
            "Yes\n10115\nregards but keep photos",
            "Yes\n10115\nKind regards but not yet",
            "Yes\n10115\nBest\nnot before next month\nJane",
            "はい\n10115\n敬具\nただし来月まで待ってください",
            // Nor is a yes with room behind it.
            "Oui\n10115\nC'est moi mais attendez",
            "Sí\n10115\nsoy yo pero espere",
            "Ja\n10115\nga verder na januari",
        ] {
            let beside = answers.beside_yes(words, "Jane jane.doe").expect("a yes");
            assert!(beside.len() > 1, "{words}: {beside:?}");
        }
        // A name that is a yes somewhere is none, nor are words behind a colon.
        for words in [
            "Keep order 4711\n\nJo",
            "Yes: wait until 15 January",
            "はい：2027年1月まで待ってください",
            "C'est moi mais attendez\n10115",
        ] {
            assert_eq!(answers.beside_yes(words, "Jo Smith j.smith"), None, "{words}");
        }
    }

    #[test]
    fn courtesy_is_told_from_words_that_say_something() {
        let table = Table::load(None).expect("the built-in rules");
        let languages: Vec<&LanguageFile> = table.languages.iter().map(|(_, file)| file).collect();
        let answers = Answers::new(&languages);
        for text in ["", " \n", "Hello,\n\nThanks!\n\nKind regards\nJane Doe", "Guten Tag,\n\nVielen Dank\n"]
        {
            assert!(answers.is_courtesy(text), "{text:?}");
            assert_eq!(answers.read_besides(text), Said::Nothing, "{text:?}");
        }
        for text in ["Wait", "Hello,\nmy birthday is wrong too.", "Jane"] {
            assert!(!answers.is_courtesy(text), "{text:?}");
            assert_eq!(answers.read_besides(text), Said::Unclear, "{text:?}");
        }
        for words in [
            "Thank you very much!",
            "Thanks\n\nKind regards\nJane",
            "Vielen Dank.",
            "ありがとうございます。",
            "Спасибо большое",
        ] {
            assert!(answers.is_thanks(words), "{words:?}");
        }
        for words in [
            "",
            "Hi\nplease keep my account",
            "Thanks but don't erase me yet",
            "Danke aber bitte noch warten",
            "PS",
            "Kind regards",
            "Thanks\n\nKind regards\nJane\n\nPS: please wait!",
        ] {
            assert!(!answers.is_thanks(words), "{words:?}");
        }
        assert_eq!(answers.read_besides("Yes.\n\nThanks"), Said::Yes);
        assert_eq!(answers.read_besides("No"), Said::No);
        assert_eq!(answers.read_besides("Yes. 10115"), Said::Unclear);
    }
}

//! What somebody says to our question whether a request is theirs: yes, no, or never mind.
//!
//! People write back in free text instead of following instructions, so the words are read; but only
//! a clear yes sets something in motion. An absence note that quotes our question says neither yes nor
//! no, and so does nothing.

use crate::code::Code;
use crate::language::LanguageFile;
use crate::patterns::Patterns;
use crate::text::{fold, is_abbreviation, is_greek, is_struck, is_unspaced, pattern, sentences};

/// What may be data has no more words than this beside its numbers, "my customer number is 470 011", or around its colon:
/// "name: Jane Doe".
const MOST_BESIDE_NUMBERS: usize = 12;
const MOST_AROUND_COLON: usize = 4;

/// An answer of more parts than this is none that a program understands.
const MOST_PARTS: usize = 60;

/// Below a closing no more parts than this are a name.
const MOST_BELOW: usize = 4;

/// A yes in one language, and a name in another: "Thanks, Jo". Alone they are one only where nothing stands before them, but
/// "sí" with its accent is one anywhere.
const YES_OR_NAME: [&str; 6] = ["jo", "vale", "claro", "si", "jep", "giusto"];

/// Those that are one behind a greeting as well, of somebody whose name does not begin so.
const YES_BEHIND_GREETING: [&str; 2] = ["si", "jep"];

/// An answer to our question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// It is theirs, go on.
    Yes,
    /// The same, and something that may be the data we asked for; what it is, [`Answers::read`] tells.
    YesAndData,
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
    greeting: Patterns,
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
            greeting: set(|language| &language.answer.greeting),
            polite: set(|language| &language.answer.polite),
            data: set(|language| &language.answer.data),
            closing: set(|language| &language.answer.closing),
            thanks: set(|language| &language.answer.thanks),
        }
    }

    /// What the `sender` says besides the changes of data that their mail asks for. Courtesy alone says nothing.
    pub fn read_besides(&self, rest: &str, sender: &str) -> Said {
        match self.read(rest, sender).0 {
            Said::Unclear if self.is_courtesy(rest) => Said::Nothing,
            // What looks like data is no change that was understood.
            Said::YesAndData => Said::Unclear,
            said => said,
        }
    }

    /// Whether there is nothing in `words` but thanks, with a greeting, a closing and the `sender`'s name at the most. Other
    /// courtesy has room for more: "Thanks for waiting a little".
    pub fn is_thanks(&self, words: &str, sender: &str) -> bool {
        self.take_apart(words, sender).is_some_and(|it| it.thanks && !it.yes && it.rest.is_empty())
    }

    /// The same, where none of the thanks is a yes in another language: "Tak" is.
    pub fn is_thanks_alone(&self, words: &str, sender: &str) -> bool {
        let may_be_yes = |line: &str| says(&self.thanks, line) && says(&self.yes, line);
        self.is_thanks(words, sender) && !sentences(&fold(words)).lines().any(may_be_yes)
    }

    /// What `words` say besides courtesy: greetings at their beginning, thanks, and a closing at their end with the
    /// `sender`'s name, that is, words of their name and of the local part of their address. With anything else beside or
    /// below it a closing is none: "regards, but wait". `None` where they are too much to be understood.
    fn take_apart(&self, words: &str, sender: &str) -> Option<Apart> {
        let name = name_words(sender.get(..sender.floor_char_boundary(LONGEST_NAME)).unwrap_or_default());
        let mut parts = self.parts(words)?;
        let is_named_yes = parts.first().is_some_and(|part| part.may_be_name);
        // "Hola, si", but by nobody who is called Simon.
        let is_his = |text: &str| name.iter().any(|word| word.starts_with(bare(text)));
        let is_first = |at: usize| parts.iter().take(at).all(|part| says(&self.greeting, &part.folded));
        let is_behind_greeting = |at: usize, part: &Part| {
            is_first(at) && YES_BEHIND_GREETING.contains(&bare(&part.folded)) && !is_his(&part.folded)
        };
        let is_greeted = parts.iter().enumerate().any(|(at, part)| is_behind_greeting(at, part));
        let is_yes =
            |part: &Part| says(&self.yes, &part.folded) && (is_named_yes || is_greeted || !part.may_be_name);
        // "Tak" is a yes in one language, and thanks in another.
        let is_thanks = |part: &Part| says(&self.thanks, &part.folded);
        let is_greeting = |part: &Part| says(&self.greeting, &part.folded) && !is_yes(part);
        parts.drain(..parts.iter().take_while(|part| is_greeting(part)).count());
        let thanks = parts.iter().any(is_thanks);
        let is_end = |part: &Part| {
            // "Thanks and kind regards, Jane".
            let text = bare(&part.folded);
            let text =
                rest_behind(&self.thanks, text).map_or_else(|| text.to_owned(), |behind| behind.join(" "));
            let behind = rest_behind(&self.closing, &text);
            behind.is_some_and(|behind| behind.iter().all(|word| is_name(&name, word)))
                || is_thanks(part) && !is_yes(part)
        };
        loop {
            let all = parts.len();
            let first = all.saturating_sub(MOST_BELOW + 1);
            let last = parts.get(first..).unwrap_or_default();
            if let Some(end) = last.iter().rposition(is_end)
                && last.iter().skip(end + 1).all(|part| is_name(&name, &part.folded))
            {
                parts.truncate(first + end);
            }
            if parts.len() > 1 {
                let is_set_off = |part: &Part| part.begins_line || part.folded.contains(' ');
                parts.pop_if(|part| is_set_off(part) && is_name(&name, &part.folded));
            }
            if parts.len() == all {
                break;
            }
        }
        let yes = parts.iter().any(|part| is_yes(part) && !is_thanks(part));
        parts.retain(|part| !is_yes(part) && !is_thanks(part));
        Some(Apart { yes, thanks, rest: parts.into_iter().map(|part| part.folded).collect() })
    }

    /// The parts of an answer: a sentence that is understood as a whole, or what is between its commas. `None` where they
    /// are too many, or struck through.
    fn parts(&self, words: &str) -> Option<Vec<Part>> {
        if is_struck(words) {
            return None;
        }
        // The Greek question mark looks like a semicolon.
        let ends: &[char] = match words.contains(is_greek) {
            true => &['.', '!', '。', '．', '！'],
            false => &['.', '!', '。', '．', '！', ';', '；'],
        };
        let mut parts: Vec<Part> = Vec::new();
        let mut add = |text: &str, begins_line: bool| {
            let folded = fold(text);
            if !bare(&folded).is_empty() {
                let may_be_name = text.is_ascii() && YES_OR_NAME.contains(&bare(&folded));
                parts.push(Part { folded, begins_line, may_be_name });
            }
            (parts.len() <= MOST_PARTS).then_some(())
        };
        for line in words.lines().filter(|line| !is_code(line)) {
            for (place, sentence) in in_sentences(line, ends).into_iter().enumerate() {
                let whole = fold(sentence);
                if says(&self.yes, &whole) || says(&self.thanks, &whole) {
                    add(sentence, place == 0)?;
                    continue;
                }
                let is_dense = sentence.contains(is_unspaced);
                for (at, clause) in in_clauses(sentence, is_dense).enumerate() {
                    let begins_line = place == 0 && (at == 0 || is_dense);
                    match clause.split_once([':', '：']) {
                        Some((yes, behind)) if says(&self.yes, &fold(yes)) => {
                            add(yes, begins_line)?;
                            add(behind, false)?;
                        }
                        _ => add(clause, begins_line)?,
                    }
                }
            }
        }
        Some(parts)
    }

    /// Whether `words` are a greeting, thanks, and a closing with a name, each with room for few words: it stands around the
    /// changes of a correction, which a person sees, or has seen, line by line.
    pub fn is_courtesy(&self, words: &str) -> bool {
        let text = sentences(&fold(words));
        let lines: Vec<&str> = text.lines().collect();
        let begins = |set: &Patterns, line: &str, most: usize| {
            rest_behind(set, line).is_some_and(|behind| behind.len() <= most)
        };
        let end = lines.iter().position(|line| begins(&self.closing, line, 3)).unwrap_or(lines.len());
        let is_short = |line: &&str| line.split_whitespace().count() <= 4;
        let is_polite =
            |line: &&str| begins(&self.greeting, line, 1) || self.polite.is_match(line.as_bytes());
        lines.len() - end <= 4
            && lines.iter().take(end).all(is_polite)
            && lines.iter().skip(end + 1).all(is_short)
    }

    /// What `own_words` of the `sender` say, and what stands beside a yes: its parts between commas, stops and ends of lines,
    /// folded. A yes counts only when every part is understood: "we confirm the receipt of your mail" is none, nor is "yes,
    /// but". Denial wins over withdrawal.
    pub fn read(&self, own_words: &str, sender: &str) -> (Said, Vec<String>) {
        if own_words.trim().is_empty() {
            return (Said::Nothing, Vec::new());
        }
        let text = sentences(&fold(own_words));
        let any = |set: &Patterns| text.lines().any(|line| set.is_match(line.as_bytes()));
        let apart = self.take_apart(own_words, sender);
        let has_yes = apart.as_ref().map_or_else(|| any(&self.yes), |it| it.yes);
        match (has_yes, any(&self.no), any(&self.never_mind), apart) {
            (false, true, _, _) => (Said::No, Vec::new()),
            (false, false, true, _) => (Said::NeverMind, Vec::new()),
            (true, false, false, Some(Apart { rest, .. })) if rest.is_empty() => (Said::Yes, rest),
            (true, false, false, Some(Apart { rest, .. })) if rest.iter().all(|it| self.may_be_data(it)) => {
                (Said::YesAndData, rest)
            }
            _ => (Said::Unclear, Vec::new()),
        }
    }

    /// Whether a part of an answer may be the data that was asked for, though not every word of it is understood.
    fn may_be_data(&self, part: &str) -> bool {
        let is = |set: &Patterns| set.is_match(part.replace(':', " ").as_bytes());
        if part.contains(['?', ';']) || is(&self.no) || is(&self.never_mind) {
            return false;
        }
        let words = part.split_whitespace();
        let (numbers, others): (Vec<&str>, Vec<&str>) =
            words.partition(|word| word.bytes().any(|byte| byte.is_ascii_digit()));
        !numbers.is_empty() && others.len() <= MOST_BESIDE_NUMBERS
            || part.contains(':') && others.len() <= MOST_AROUND_COLON
            || is(&self.data)
    }
}

/// An answer without its courtesy.
struct Apart {
    /// Whether a part of it is a yes as a whole, and no thanks in another language.
    yes: bool,
    thanks: bool,
    /// All other parts, folded.
    rest: Vec<String>,
}

/// A part of an answer.
struct Part {
    folded: String,
    begins_line: bool,
    /// See [`YES_OR_NAME`].
    may_be_name: bool,
}

/// Whether `set` matches folded `text`, whatever is around it.
fn says(set: &Patterns, text: &str) -> bool {
    set.is_match(bare(text).as_bytes())
}

/// The sentences of a line. Of several dots none is an end: "yes..." is said with hesitation.
fn in_sentences<'a>(line: &'a str, ends: &[char]) -> Vec<&'a str> {
    let mut sentences = Vec::new();
    let mut from = 0;
    let mut before = ' ';
    for (at, sign) in line.char_indices() {
        let behind = line.get(at + sign.len_utf8()..).unwrap_or_default();
        let is_dots = sign == '.' && (before == '.' || behind.starts_with('.'));
        before = sign;
        // At the end of a line it may be a Greek question, "OK;".
        let is_open = sign == ';' && behind.trim().is_empty();
        // What is left of so many is one.
        if !ends.contains(&sign) || is_dots || is_open || sentences.len() > MOST_PARTS {
            continue;
        }
        let sentence = line.get(from..at).unwrap_or_default();
        let last = sentence.rsplit(|sign: char| !sign.is_alphanumeric()).next().unwrap_or_default();
        if sign == '.' && is_short(&last.to_lowercase()) {
            continue;
        }
        sentences.push(sentence.trim());
        from = at + sign.len_utf8();
    }
    sentences.push(line.get(from..).unwrap_or_default().trim());
    sentences
}

/// Whether a full stop behind `word` ends no sentence of an answer, in which "no." and "это я." are some.
fn is_short(word: &str) -> bool {
    word.chars().count() > 1 && word != "no" && is_abbreviation(word) || ["m", "mw", "prof"].contains(&word)
}

/// The parts of a sentence between commas and dashes; of scripts without blanks, which `is_dense` tells, between blanks too.
fn in_clauses(sentence: &str, is_dense: bool) -> impl Iterator<Item = &str> {
    let is_end =
        move |sign: char| [',', '、', '，', '–', '—'].contains(&sign) || is_dense && sign.is_whitespace();
    sentence.split(is_end).flat_map(|part| part.split(" - ")).map(str::trim)
}

/// Whether there is nothing in a line but a code, which our question asks for where the subject is lost.
fn is_code(line: &str) -> bool {
    Code::BLANK.to_string().len() == bare(line).len() && Code::find(line).is_some()
}

/// Text without quotes, stops and the like around it. Other signs may say something: "❌", "[ ] yes", "yes...".
fn bare(text: &str) -> &str {
    const AROUND: &str = " ,!¡:-*\"'«»‹›「」『』";
    text.trim_matches(|sign: char| AROUND.contains(sign))
}

/// The words of `part` behind the longest beginning that `set` matches.
fn rest_behind<'a>(set: &Patterns, part: &'a str) -> Option<Vec<&'a str>> {
    const MOST_WORDS: usize = 8;
    let words: Vec<&str> = part.split_whitespace().collect();
    (1..=words.len().min(MOST_WORDS)).rev().find_map(|to| {
        let (beginning, behind) = words.split_at_checked(to)?;
        let beginning = beginning.join(" ");
        set.is_match(beginning.trim_end_matches([',', '.']).as_bytes()).then(|| behind.to_vec())
    })
}

/// Whether there is nothing in folded `text` but a name of somebody who is called by these words.
fn is_name(name: &[String], text: &str) -> bool {
    let is_plain = text.chars().all(|sign| sign.is_alphabetic() || " -'’.".contains(sign));
    if text.len() > LONGEST_NAME || !is_plain {
        return false;
    }
    let words = name_words(text);
    // Names of scripts without blanks may be signed by a half, or with a blank: 田中 of 田中太郎.
    let is_half = |word: &String| {
        word.chars().count() > 1
            && word.chars().all(is_unspaced)
            && name.iter().any(|it| it.starts_with(word) || it.ends_with(word))
    };
    !words.is_empty() && words.iter().all(|word| name.contains(word) || is_half(word))
}

/// A name is no longer than this (bytes), with the local part of an address.
const LONGEST_NAME: usize = 200;

/// The words of a name, folded, without their marks.
fn name_words(text: &str) -> Vec<String> {
    let folded = fold(text);
    let words = folded.split(|sign: char| !sign.is_alphabetic()).filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Table;

    const SENDER: &str = "jane.doe Jane Ada Doe 田中太郎";

    fn answers() -> Answers {
        let table = Table::load(None).expect("the built-in rules");
        let languages: Vec<&LanguageFile> = table.languages.iter().map(|(_, file)| file).collect();
        Answers::new(&languages)
    }

    /// What stands beside a yes, if there is one.
    fn beside_yes(answers: &Answers, words: &str, sender: &str) -> Option<Vec<String>> {
        answers.take_apart(words, sender).filter(|it| it.yes).map(|it| it.rest)
    }

    #[test]
    fn answers_are_told_apart() {
        let answers = answers();
        let check = |said: Said, texts: &[&str]| {
            for text in texts {
                assert_eq!(answers.read(text, SENDER).0, said, "{text:?}");
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
                // Quoted as our question wrote it, with what was asked for, thanks and a name.
                "\"YES\"",
                "Yes - that was me",
                "Yes, please delete my data",
                "Ja, bitte löschen Sie alle meine Daten",
                "Oui, supprimez toutes mes données",
                "Dear Sir or Madam,\n\nYes.\n\nThank you for your quick reply\n\nJane",
                "Sehr geehrte Damen und Herren,\nja, das war ich.\nDanke für Ihre Mühe!\n\nMit freundlichen Grüßen\nJane Doe",
                "お世話になっております。\nはい、私です。\nよろしくお願いします。\n田中",
                "Yes\n\njane",
                "Yes\n\nc.abcdefghijklmnopqrstuvwxya",
                "はい　私です",
                "Yes, I did.",
                "Geachte heer/mevrouw,\n\nJa, ik bevestig mijn verzoek.\n\nMet vriendelijke groet,\nJane Doe",
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
                // It does not say who asked for it.
                "Please do not delete my data.",
                "Bitte löschen Sie nichts",
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
                "Yes, but keep the invoice 4711 of my last order",
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
                // What goes on behind a yes, below a closing or among thanks.
                "Oui, c'est moi mais attendez encore un peu svp",
                "Hi, yes, but only the newsletter and not my account",
                "Yes.\n\nOnly after you have sent me the invoices",
                "Yes\n\nRegards\nbut keep all of my old photos",
                "Oui. Merci de ne pas supprimer mes photos",
                "Ja. Danke, aber erst nach der Lieferung bitte",
                "Yes\nDo not delete anything",
                "Yes\nPlease cancel my request",
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
        let answers = answers();
        for words in [
            "Yes\n10115\n\nKind regards,\nJane Doe\n",
            "Yes\n10115\n\nBest regards\nJane",
            "Yes\n10115\n\nKind regards Jane",
            "Yes, that was me. 10115. Thank you",
            "Yes\n10115\n\nThanks,\nJane",
            "Yes\n10115\n\nMit freundlichen Grüßen\n\nJane",
            "Yes\n10115",
        ] {
            assert_eq!(beside_yes(&answers, words, "Jane jane.doe").expect("a yes"), ["10115"], "{words}");
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
            let beside = beside_yes(&answers, words, "Jane jane.doe").expect("a yes");
            assert!(beside.len() > 1, "{words}: {beside:?}");
        }
        // Nor few words that are no name of theirs.
        for words in [
            "Yes\nThanks\nNo",
            "Ja\nDanke\nKeine Rechnungen",
            "Yes\n\nSincerely\nKeep Invoices",
            "Yes\nBest, Wait",
            "Yes\n\nKind regards\nJane\nP.S. Wait",
            "是的\n谢谢\n先不要删除",
            "はい\n敬具\n削除中止",
            "Guten Tag das war ich nicht. Ok",
            "Hello please wait. Yes, that was me",
            "Hi Do Not Delete. Yes",
            "Lieber nicht alles löschen\nJa",
            "削除しないでほしいです\nはい",
            "尊敬的客服请先不要删除照片。是的",
            "Ναι. Σβήσατε τα;",
            "Ja, doch nicht",
            "Yes, not yet",
            "Hi Wait\nYes",
            "Hallo Frau Moment\nJa",
            "Dear Mr Wait\nYes",
            "Yes\nwait,c.abcdefghijklmnopqrstuvwxya",
            "Guten Tag Einspruch\nJa",
            "まだ削除しないでください担当者様\nはい",
            "我不是王先生\n是的",
            "Yes. But wait",
            "Yes\nNot everything",
            "Yes\nRegards\nbut keep photos",
            "Ja. Moment",
            "Oui, merci d'attendre",
            "Yes: wait until 15 January",
            "はい：2027年1月まで待ってください",
        ] {
            let beside = beside_yes(&answers, words, "Jane jane.doe").expect("a yes");
            assert!(!beside.is_empty(), "{words}: {beside:?}");
        }
        // Names, and nothing but a yes: whatever else a name may be.
        for (words, sender) in [
            ("Yes", "tom Tom Hayes"),
            ("Yes, Tom Hayes", "tom Tom Hayes"),
            ("Hola,\nsí", "jane"),
            ("Yes, I requested the deletion of my data.", "jane"),
            ("Ja, ich bestätige die Löschung meiner Daten.", "jane"),
            ("Oui je confirme la suppression de mes données.", "jane"),
            ("Sí, confirmo la eliminación de mis datos.", "jane"),
            ("私が依頼しました", "jane"),
            ("Yes\n\nTom", "tom Tom Hayes"),
            ("Ja", "ja.morant Ja Morant"),
            ("Thank you for your reply.\nYes.", "jane"),
            ("Vielen Dank für die schnelle Antwort.\n\nJa.", "jane"),
            ("Спасибо за ответ.\nДа", "jane"),
            ("Ναι\n\nΜε εκτίμηση\nJane Doe", "jane Jane Doe"),
            ("Tak, to ja.\n\nPozdrawiam serdecznie\nJan", "jan"),
            ("Yes\n\nYours faithfully\nJane Doe", "jd Jane Doe"),
            ("Dear Sir,\nyes", "jane"),
            ("Yes please.\nThanks and kind regards,\nMary Poppins", "mary Mary Poppins"),
            ("Yes, it was me who requested this.\nBest wishes\nRita", "rita.m Rita Moss"),
            ("Hallo, ja bitte löschen Sie alles", "jane"),
            ("¡Hola!\n¡Sí, fui yo!", "jane"),
            ("はい\n\n田中　太郎", "t.tanaka 田中太郎"),
            ("はい、お願いします。\n敬具\n田中 太郎", "t.tanaka 田中太郎"),
            ("Sí, borren todos mis datos. Saludos cordiales", "jane"),
            ("お世話になっております。\nはい、お願いします。\n以上です。\n田中", "t.tanaka 田中太郎"),
        ] {
            assert_eq!(beside_yes(&answers, words, sender), Some(Vec::new()), "{words}");
        }
        // A name that is a yes somewhere is none, nor are words behind a colon.
        for words in ["Keep order 4711\n\nJo", "C'est moi mais attendez\n10115"] {
            assert_eq!(beside_yes(&answers, words, "Jo Smith j.smith"), None, "{words}");
        }
    }

    #[test]
    fn a_yes_in_any_language_is_one_with_courtesy_and_none_with_anything_else() {
        let answers = answers();
        for text in [
            "Hi there,\n\nYES\n\nBest,\nJane",
            "Dear team,\nyes.\nRegards, Jane Doe",
            "Hallo,\nja bitte.\nViele Grüße\nJane",
            "Ja, bitte alle meine Daten löschen. Danke",
            "Bonjour, oui c'est bien moi, merci",
            "Hola,\n\nSí, confirmo mi solicitud.\n\nUn saludo,\nJane",
            "Buongiorno,\nsì, sono stata io.\nCordiali saluti\nJane Doe",
            "Olá,\nsim, fui eu.\nCumprimentos,\nJane",
            "Ja, dat was ik.\nGroetjes,\nJane",
            "Dzień dobry,\ntak, to ja.\nZ poważaniem\nJane Doe",
            "Dobrý den,\nano, potvrzuji.\nS pozdravem\nJane Doe",
            "Hej,\nja det stämmer.\nMed vänliga hälsningar\nJane Doe",
            "Hej,\nja, jeg bekræfter.\nMed venlig hilsen\nJane Doe",
            "Poštovani,\nda, potvrđujem zahtjev.\nS poštovanjem,\nJane Doe",
            "Καλησπέρα,\nναι, εγώ το ζήτησα.\nΕυχαριστώ\nJane",
            "Bună ziua,\nda, confirm.\nCu stimă,\nJane Doe",
            "Да, това съм аз.\nПоздрави,\nJane",
            "Здравствуйте!\nДа, это я.\nС уважением,\nJane Doe",
            "お世話になっております。\nはい、お願いします。\n田中",
            "您好，\n是的，我确认。\n谢谢\n田中",
        ] {
            assert_eq!(answers.read(text, SENDER).0, Said::Yes, "{text:?}");
        }
        for text in [
            "Tak",
            "Tak tak",
            "Thanks,\nJo",
            "Cheers,\nSi",
            "Thank you, Si.",
            "Grazie,\nGiusto",
            "Det var nog jag",
            "Das war wohl ich",
            "Yeah, right.",
            "Si la solicitud es mía",
            "Oui, si",
            "Confirm please",
            "Hello,\nwe confirm the request.\nBest regards",
            "Wir bestätigen die Anfrage.",
            "私",
            "OK;",
            "Hi,\nVale",
            "This is\nJane",
            "Yes...",
            "Γεια σας\nOK;",
            "Y\u{336}e\u{336}s\u{336}",
            "Stimmt das",
            "Ok, war ich das",
            "Klopt dat",
            "Ok, är det jag",
            "Ok c'est tout",
            "Ok bitte nochmals alles",
            "谢谢",
            "よろしくお願いします",
            "Ναι, το ζήτησα εγώ;",
            "[ ] Yes",
            "Correct my data",
            "Correct everything",
            "Yes, I request my personal data",
            "Yes, remove my request",
            "Sí, borren mi solicitud",
            "Да, удалите мой запрос",
            "ok, is that all of my data",
            "Ok, was that me",
            "Ja, maar...",
            "Ja maar",
            "Ja, das war sie",
            "Oui, vous",
            "Ja, sie",
            "Hello Stop\nYes",
            "Hallo Moment\nJa",
            "Bonjour Attendez\nOui",
            "Dag Niet\nJa",
            "Sí, pero no",
            "Va bene, ma",
            "Да, но",
            "はい、でも",
            "是的，但是",
            "Yes. Hold on",
            "Yes, not yet",
            "Yes. No",
            "Ok, stop!",
            "それは妻の花子さん、はい",
            "是我先生\n是的",
            "请等张经理。是的",
            "Yes, everything but my account",
            "Ja, löschen Sie meine Daten nicht",
            "oui sauf mes factures",
            "yes if you keep the invoices",
        ] {
            let said = answers.read(text, SENDER).0;
            assert!(!matches!(said, Said::Yes | Said::YesAndData), "{text:?}: {said:?}");
        }
    }

    /// Empty parts are none, and what stands behind very many is not left out.
    #[test]
    fn what_is_too_long_to_be_understood_is_no_yes() {
        let answers = answers();
        let many = |sign: &str, times: usize| sign.repeat(times);
        for (text, said) in [
            (format!("Yes{} but wait, do not delete my photos", many(",", 70)), Said::Unclear),
            (format!("Yes {} but keep my account", many("—", 64)), Said::Unclear),
            (format!("はい{}でも来月まで待ってください", many("　", 70)), Said::Unclear),
            (format!("Yes\n{}do not erase my invoices, wait", many(",", 62)), Said::Unclear),
            (format!("Yes. {}", many("and so, on and, on. ", 100)), Said::Unclear),
            (format!("No! I did not ask for this.\n{}", many("what is, this. ", 100)), Said::No),
            (format!("Please cancel my request.\n{}", many("what is, this. ", 100)), Said::NeverMind),
            (format!("{}x\n{}", many("*", 30_000), many(",\n", 17_000)), Said::Unclear),
            (many("a,", 100_000), Said::Unclear),
        ] {
            assert_eq!(answers.read(&text, SENDER).0, said, "{:.60}", text);
        }
    }

    /// "C'est moi( \\w+){0,2}" would approve "c'est moi mais attendez".
    #[test]
    fn no_yes_and_nothing_around_it_has_room_for_other_words() {
        for (code, language) in Table::load(None).expect("the built-in rules").languages {
            let answer = &language.answer;
            let lists = [&answer.yes, &answer.thanks, &answer.closing, &answer.greeting];
            for words in lists.into_iter().flatten() {
                for room in ["\\w", "\\S", "[^", ".*", ".+", ".{"] {
                    assert!(!words.contains(room), "{code}: {words} takes any word at {room}");
                }
            }
        }
    }

    #[test]
    fn courtesy_is_told_from_words_that_say_something() {
        let answers = answers();
        for text in ["", " \n", "Hello,\n\nThanks!\n\nKind regards\nJane Doe", "Guten Tag,\n\nVielen Dank\n"]
        {
            assert!(answers.is_courtesy(text), "{text:?}");
            assert_eq!(answers.read_besides(text, SENDER), Said::Nothing, "{text:?}");
        }
        for text in ["Wait", "Hello,\nmy birthday is wrong too.", "Jane"] {
            assert!(!answers.is_courtesy(text), "{text:?}");
            assert_eq!(answers.read_besides(text, SENDER), Said::Unclear, "{text:?}");
        }
        for words in [
            "Thank you very much!",
            "Thanks\n\nKind regards\nJane",
            "Vielen Dank.",
            "ありがとうございます。",
            "Спасибо большое",
        ] {
            assert!(answers.is_thanks(words, SENDER), "{words:?}");
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
            assert!(!answers.is_thanks(words, SENDER), "{words:?}");
        }
        assert_eq!(answers.read_besides("Yes.\n\nThanks", SENDER), Said::Yes);
        assert_eq!(answers.read_besides("No", SENDER), Said::No);
        assert_eq!(answers.read_besides("Yes. 10115", SENDER), Said::Unclear);
    }
}

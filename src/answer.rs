//! What somebody says to our question whether a request is theirs: yes, no, or never mind.
//!
//! People write back in free text instead of following instructions, so the words are read; but only
//! a clear yes sets something in motion. An absence note that quotes our question says neither yes nor
//! no, and so does nothing.

use crate::language::LanguageFile;
use crate::patterns::Patterns;
use crate::text::{fold, is_unspaced, pattern, sentences};

/// What may be data has no more words than this, and beside numbers no more than [`MOST_BESIDE_NUMBERS`]: "name Jane Doe", "my
/// customer number is 470 011".
const MOST_WITHOUT_NUMBERS: usize = 4;
const MOST_BESIDE_NUMBERS: usize = 12;

/// Below a closing no more parts than this are a name and an address.
const MOST_BELOW: usize = 5;

/// What stands between parts of a name in small letters.
const PARTICLES: [&str; 20] = [
    "van", "von", "vom", "zu", "de", "der", "den", "del", "di", "da", "do", "dos", "du", "des", "la", "le",
    "ter", "ten", "af", "av",
];

/// An answer to our question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// It is theirs, go on.
    Yes,
    /// The same, and something that may be the data we asked for; what it is, [`Answers::beside_yes`] tells.
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
        match self.read(rest, sender) {
            Said::Unclear if self.is_courtesy(rest) => Said::Nothing,
            // What looks like data is no change that was understood.
            Said::YesAndData => Said::Unclear,
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

    /// What stands beside a yes in `words`: its parts between commas, stops and ends of lines, folded, without a greeting at
    /// their beginning, thanks, a closing, and below it or at their end a name, words of the `sender`'s own, their name and
    /// the local part of their address. A closing with anything else in its part is none: "regards, but wait". `None` where
    /// no part is a yes as a whole.
    pub fn beside_yes(&self, words: &str, sender: &str) -> Option<Vec<String>> {
        let name = name_words(sender.get(..sender.floor_char_boundary(LONGEST_NAME)).unwrap_or_default());
        let is = |set: &Patterns, text: &str| set.is_match(bare(text).as_bytes());
        let mut parts: Vec<Part> = Vec::new();
        for (begins_line, sentence) in stretches(words) {
            let whole = fold(sentence);
            if is(&self.yes, &whole) || is(&self.thanks, &whole) {
                parts.push(Part { written: sentence, folded: whole, begins_line });
                continue;
            }
            let parted = clauses(sentence).flat_map(|clause| match clause.split_once([':', '：']) {
                Some((yes, behind)) if is(&self.yes, &fold(yes)) => vec![yes, behind],
                _ => vec![clause],
            });
            parts.extend(parted.enumerate().map(|(index, written)| Part {
                written,
                folded: fold(written),
                begins_line: begins_line && index == 0,
            }));
        }
        parts.retain(|part| !bare(&part.folded).is_empty());
        let greetings =
            parts.iter().take_while(|part| is(&self.greeting, &part.folded) && !is(&self.yes, &part.folded));
        parts.drain(..greetings.count());
        let is_closing =
            |part: &Part| is_made_of(&self.closing, bare(&part.folded), |word| is_name_word(&name, word));
        loop {
            let all = parts.len();
            let is_end = |part: &Part| is_closing(part) || is(&self.thanks, &part.folded);
            if let Some(end) = parts.iter().rposition(is_end)
                && let Some((last, below)) = parts.get(end..).and_then(<[Part]>::split_first)
            {
                // Thanks end no letter; below them a name begins a line.
                let is_closed = is_closing(last);
                let may_be = |part: &Part| (is_closed || part.begins_line) && part.looks_like_a_name();
                if below.len() <= MOST_BELOW && below.iter().all(|part| part.is_name(&name) || may_be(part)) {
                    parts.truncate(end);
                }
            }
            parts.pop_if(|part| part.is_name(&name));
            if parts.len() == all {
                break;
            }
        }
        let all = parts.len();
        parts.retain(|part| !is(&self.yes, &part.folded));
        let has_yes = parts.len() < all;
        parts.retain(|part| !is(&self.thanks, &part.folded));
        has_yes.then(|| parts.into_iter().map(|part| part.folded).collect())
    }

    /// Whether there is nothing in `words` but a greeting, thanks, and a closing with a name of few words.
    pub fn is_courtesy(&self, words: &str) -> bool {
        let text = sentences(&fold(words));
        let lines: Vec<&str> = text.lines().collect();
        let is = |set: &Patterns, line: &str| set.is_match(line.as_bytes());
        let end = lines.iter().position(|line| is(&self.closing, line)).unwrap_or(lines.len());
        let is_short = |line: &&str| line.split_whitespace().count() <= 4;
        lines.len() - end <= 4
            && lines.iter().take(end).all(|line| is(&self.greeting, line) || is(&self.polite, line))
            && lines.iter().skip(end + 1).all(is_short)
    }

    /// What `own_words` of the `sender` say. A yes counts only when every part is understood: "we confirm the receipt
    /// of your mail" is none, nor is "yes, but". Denial wins over withdrawal.
    pub fn read(&self, own_words: &str, sender: &str) -> Said {
        if own_words.trim().is_empty() {
            return Said::Nothing;
        }
        let text = sentences(&fold(own_words));
        let any = |set: &Patterns| text.lines().any(|line| set.is_match(line.as_bytes()));
        let (no, never_mind) = (any(&self.no), any(&self.never_mind));
        match self.beside_yes(own_words, sender) {
            None if no => Said::No,
            None if never_mind => Said::NeverMind,
            Some(beside) if !no && !never_mind && beside.is_empty() => Said::Yes,
            Some(beside) if !no && !never_mind && beside.iter().all(|part| self.may_be_data(part)) => {
                Said::YesAndData
            }
            _ => Said::Unclear,
        }
    }

    /// Whether a part of an answer may be the data that was asked for, though not every word of it is understood.
    fn may_be_data(&self, part: &str) -> bool {
        let is = |set: &Patterns| set.is_match(part.replace([':', '：'], " ").as_bytes());
        if part.contains(['?', '？']) || is(&self.no) || is(&self.never_mind) {
            return false;
        }
        let words = part.split_whitespace();
        let (numbers, others): (Vec<&str>, Vec<&str>) =
            words.partition(|word| word.bytes().any(|byte| byte.is_ascii_digit()));
        let most = if numbers.is_empty() { MOST_WITHOUT_NUMBERS } else { MOST_BESIDE_NUMBERS };
        others.len() <= most || is(&self.data)
    }
}

/// A part of an answer between commas, stops and ends of lines.
struct Part<'a> {
    written: &'a str,
    folded: String,
    begins_line: bool,
}

impl Part<'_> {
    /// Whether it is a name of somebody who is called by these words. In a line of its own beginnings and ends of them
    /// count too: "Jane" of janedoe.
    fn is_name(&self, name: &[String]) -> bool {
        let is_plain = self.folded.chars().all(|sign| sign.is_alphabetic() || " -'’".contains(sign));
        if self.folded.len() > LONGEST_NAME || !is_plain {
            return false;
        }
        let words = name_words(&self.folded);
        let is_part = |word: &String| {
            self.begins_line
                && word.chars().count() >= 3
                && name.iter().any(|whole| whole.starts_with(word.as_str()) || whole.ends_with(word.as_str()))
        };
        !words.is_empty() && words.iter().all(|word| name.contains(word) || is_part(word))
    }

    /// Whether it looks like a name, or a line of an address, as people write them below a closing: "Jan van der Berg",
    /// "10115 Berlin". Who goes on there with what they wish writes most of its words small.
    fn looks_like_a_name(&self) -> bool {
        const MOST_WORDS: usize = 4;
        const LONGEST_WITHOUT_CASE: usize = 6;
        let is_name_like = |word: &str| {
            let mut letters = word.chars().filter(|sign| sign.is_alphabetic());
            let Some(first) = letters.next() else { return word.chars().any(|sign| sign.is_ascii_digit()) };
            let rest: String = letters.collect();
            if is_unspaced(first) {
                let is_hiragana = |sign: char| ('\u{3041}'..='\u{309f}').contains(&sign);
                return word.chars().count() <= LONGEST_WITHOUT_CASE && !word.chars().any(is_hiragana);
            }
            let is_shouted = rest.chars().count() > 1 && rest.chars().all(char::is_uppercase);
            first.is_uppercase() && !is_shouted || PARTICLES.contains(&word)
        };
        let words: Vec<&str> = self.written.split_whitespace().collect();
        let is_plain = self.written.chars().all(|sign| sign.is_alphanumeric() || " -'’+()/".contains(sign));
        is_plain && words.len() <= MOST_WORDS && words.iter().all(|word| is_name_like(word))
    }
}

/// The sentences of `words`, and whether each begins a line.
fn stretches(words: &str) -> impl Iterator<Item = (bool, &str)> {
    const ENDS: [char; 9] = ['.', '!', ';', '。', '．', '！', '；', '…', '·'];
    words.lines().flat_map(|line| {
        let sentences = line.split(ENDS).map(str::trim).enumerate();
        sentences.map(|(index, sentence)| (index == 0, sentence))
    })
}

/// The parts of a sentence between commas and dashes.
fn clauses(sentence: &str) -> impl Iterator<Item = &str> {
    let dashed = sentence.split([',', '、', '，', '–', '—']);
    dashed.flat_map(|part| part.split(" - ")).map(str::trim)
}

/// Folded text without quotes, stops and the like around it. Other signs may say something: "❌".
fn bare(folded: &str) -> &str {
    const QUOTES: &str = "“”„«»‘’‚‹›…「」『』";
    let is_bare =
        |sign: char| sign.is_ascii_punctuation() && sign != '?' || sign == ' ' || QUOTES.contains(sign);
    folded.trim_matches(is_bare)
}

fn is_name_word(name: &[String], text: &str) -> bool {
    let words = name_words(text);
    !words.is_empty() && words.iter().all(|word| name.contains(word))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Table;

    const SENDER: &str = "jane.doe Jane Doe";

    #[test]
    fn answers_are_told_apart() {
        let table = Table::load(None).expect("the built-in rules");
        let languages: Vec<&LanguageFile> = table.languages.iter().map(|(_, file)| file).collect();
        let answers = Answers::new(&languages);
        let check = |said: Said, texts: &[&str]| {
            for text in texts {
                assert_eq!(answers.read(text, SENDER), said, "{text:?}");
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
                "Sehr geehrte Damen und Herren,\nja, das war ich.\nDanke für Ihre Mühe!\n\nMit freundlichen Grüßen\nJan van der Berg\n10115 Berlin",
                "お世話になっております。\nはい、私です。\nよろしくお願いします。\n田中",
                "Yes\n\njane",
                "Yes, Jane Doe",
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
        // Nor few words that are no name of theirs.
        for words in [
            "Yes. But wait",
            "Yes\nNot everything",
            "Yes\nRegards\nbut keep photos",
            "Ja. Moment",
            "Oui, merci d'attendre",
            "Yes: wait until 15 January",
            "はい：2027年1月まで待ってください",
        ] {
            let beside = answers.beside_yes(words, "Jane jane.doe").expect("a yes");
            assert!(!beside.is_empty(), "{words}: {beside:?}");
        }
        // A name that is a yes somewhere is none, nor are words behind a colon.
        for words in ["Keep order 4711\n\nJo", "C'est moi mais attendez\n10115"] {
            assert_eq!(answers.beside_yes(words, "Jo Smith j.smith"), None, "{words}");
        }
    }

    /// "C'est moi( \\w+){0,2}" would approve "c'est moi mais attendez".
    #[test]
    fn no_yes_has_room_for_other_words() {
        for (code, language) in Table::load(None).expect("the built-in rules").languages {
            for words in language.answer.yes.iter().chain(&language.answer.thanks) {
                for room in ["\\w", "\\S", "[^", ".*", ".+", ".{"] {
                    assert!(!words.contains(room), "{code}: {words} takes any word at {room}");
                }
            }
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
        assert_eq!(answers.read_besides("Yes.\n\nThanks", SENDER), Said::Yes);
        assert_eq!(answers.read_besides("No", SENDER), Said::No);
        assert_eq!(answers.read_besides("Yes. 10115", SENDER), Said::Unclear);
    }
}

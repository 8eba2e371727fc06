//! The words and signs of a filter, each with its place.

use super::{At, FilterError, FilterProblem};

/// One word or sign.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A keyword, in lower case.
    Keyword(&'static str),
    /// A column name; the flag says that it stood in double quotes.
    Name(String, bool),
    /// Digits, with point and exponent as written.
    Number(String),
    /// A text in single quotes, without them.
    Text(String),
    /// An operator, parenthesis or comma.
    Sign(&'static str),
    /// The end of the text.
    End,
}

/// Words that are no column names unless quoted. `date` and `timestamp` are names unless a text follows.
const KEYWORDS: [&str; 10] = ["and", "between", "false", "in", "is", "like", "not", "null", "or", "true"];

// `==` is no operator of SQL; it is read as one sign so that the message can name it.
const SIGNS: [&str; 15] = ["==", "<>", "!=", "<=", ">=", "--", "=", "<", ">", "+", "-", "*", "/", "(", ")"];

impl Token {
    /// Returns the token in words, for the `found` of an error.
    pub(super) fn in_words(&self) -> String {
        match self {
            Self::Keyword(word) => format!("the keyword `{word}`"),
            Self::Name(name, _) => format!("`{name}`"),
            Self::Number(digits) => format!("`{digits}`"),
            Self::Text(text) => format!("'{text}'"),
            Self::Sign(sign) => format!("`{sign}`"),
            Self::End => "the end of the filter".to_owned(),
        }
    }
}

/// Splits a text into tokens; the last one is [`Token::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<(Token, At)>, FilterError> {
    let mut lexer = Lexer { text, position: 0 };
    let mut tokens = Vec::new();
    loop {
        let (token, at) = lexer.next()?;
        let end = token == Token::End;
        tokens.push((token, at));
        if end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    position: usize,
}

impl Lexer<'_> {
    fn next(&mut self) -> Result<(Token, At), FilterError> {
        self.take_while(char::is_whitespace);
        let start = self.position;
        let token = match self.peek() {
            None => Token::End,
            Some('\'') => Token::Text(self.quoted('\'', "text")?),
            Some('"') => Token::Name(self.quoted('"', "name")?, true),
            Some('`') => Token::Name(self.quoted('`', "name")?, false),
            Some(first) if first.is_ascii_digit() || self.starts_decimal(first) => self.number()?,
            Some(first) if first.is_alphabetic() || first == '_' => self.word(),
            Some(first) => self.sign(first)?,
        };
        Ok((token, start..self.position))
    }

    fn rest(&self) -> &str {
        &self.text[self.position..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take_while(&mut self, mut keep: impl FnMut(char) -> bool) -> &str {
        let start = self.position;
        let taken = self.rest().find(|letter| !keep(letter)).unwrap_or(self.rest().len());
        self.position += taken;
        &self.text[start..self.position]
    }

    fn starts_decimal(&self, first: char) -> bool {
        first == '.' && self.rest()[1..].starts_with(|next: char| next.is_ascii_digit())
    }

    /// Reads up to the closing quote; a doubled quote stands for one.
    fn quoted(&mut self, quote: char, what: &'static str) -> Result<String, FilterError> {
        let start = self.position;
        let mut content = String::new();
        self.position += quote.len_utf8();
        loop {
            content.push_str(self.take_while(|letter| letter != quote));
            if self.peek().is_none() {
                return Err(FilterError::new(start..self.text.len(), FilterProblem::Unclosed { what, quote }));
            }
            self.position += quote.len_utf8();
            if self.peek() != Some(quote) {
                return Ok(content);
            }
            content.push(quote);
            self.position += quote.len_utf8();
        }
    }

    /// Takes everything that could belong to a number, so that `1x` and `1.2.3` are one mistake and not two.
    fn number(&mut self) -> Result<Token, FilterError> {
        let start = self.position;
        let mut before = ' ';
        let digits = self.take_while(|letter| {
            let signed_exponent = matches!(letter, '+' | '-') && matches!(before, 'e' | 'E');
            before = letter;
            letter.is_alphanumeric() || matches!(letter, '.' | '_') || signed_exponent
        });
        let digits = digits.to_owned();
        if is_number(&digits) {
            return Ok(Token::Number(digits));
        }
        Err(FilterError::new(start..self.position, FilterProblem::Number { text: digits }))
    }

    fn word(&mut self) -> Token {
        let word = self.take_while(|letter| letter.is_alphanumeric() || matches!(letter, '_' | '.'));
        match KEYWORDS.iter().find(|keyword| keyword.eq_ignore_ascii_case(word)) {
            Some(keyword) => Token::Keyword(keyword),
            None => Token::Name(word.to_owned(), false),
        }
    }

    fn sign(&mut self, first: char) -> Result<Token, FilterError> {
        let sign = SIGNS.iter().chain(&[","]).find(|sign| self.rest().starts_with(**sign)).copied();
        self.position += sign.map_or(first.len_utf8(), str::len);
        let at = self.position - sign.map_or(first.len_utf8(), str::len)..self.position;
        sign.map(Token::Sign).ok_or_else(|| FilterError::new(at, FilterProblem::Character { found: first }))
    }
}

/// Tells whether the text is digits, an optional point with digits, an optional exponent.
fn is_number(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, decimals) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let exponent_fits = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !digits.is_empty() && all_digits(digits)
    });
    all_digits(whole) && all_digits(decimals) && whole.len() + decimals.len() > 0 && exponent_fits
}

//! From tokens to a tree, by recursive descent; the grammar stands on the module page of `filter`.

use super::lex::{Token, tokens};
use super::{Arithmetic, At, Comparison, Expr, FilterError, FilterProblem, Literal, MAX_FILTER_BYTES, MAX_FILTER_DEPTH, instant};

/// Parses the text of a filter.
pub(super) fn parse(text: &str) -> Result<Expr, FilterError> {
    if text.len() > MAX_FILTER_BYTES {
        return Err(FilterError::new(MAX_FILTER_BYTES..text.len(), FilterProblem::TooLong { bytes: text.len() }));
    }
    let mut parser = Parser { tokens: tokens(text)?, position: 0, depth: 0 };
    let condition = parser.condition()?;
    match parser.peek() {
        Token::End => Ok(condition),
        _ => Err(parser.unexpected("`and`, `or` or the end of the filter")),
    }
}

struct Parser {
    tokens: Vec<(Token, At)>,
    position: usize,
    depth: usize,
}

impl Parser {
    // The last token is `End`, which nothing steps over: `position` always points at a token.
    fn peek(&self) -> &Token {
        &self.tokens[self.position].0
    }

    fn at(&self) -> At {
        self.tokens[self.position].1.clone()
    }

    fn step(&mut self) {
        self.position = (self.position + 1).min(self.tokens.len() - 1);
    }

    fn take_keyword(&mut self, word: &'static str) -> bool {
        let found = *self.peek() == Token::Keyword(word);
        if found {
            self.step();
        }
        found
    }

    fn take_sign(&mut self, sign: &'static str) -> bool {
        let found = *self.peek() == Token::Sign(sign);
        if found {
            self.step();
        }
        found
    }

    fn unexpected(&self, expected: &'static str) -> FilterError {
        FilterError::new(self.at(), FilterProblem::Unexpected { found: self.peek().in_words(), expected })
    }

    fn want(&self, found: bool, expected: &'static str) -> Result<(), FilterError> {
        if found { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, FilterError>) -> Result<T, FilterError> {
        if self.depth == MAX_FILTER_DEPTH {
            return Err(FilterError::new(self.at(), FilterProblem::TooDeep));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn condition(&mut self) -> Result<Expr, FilterError> {
        let mut conditions = vec![self.and_term()?];
        while self.take_keyword("or") {
            conditions.push(self.and_term()?);
        }
        Ok(one_or(conditions, |conditions, at| Expr::Any { conditions, at }))
    }

    fn and_term(&mut self) -> Result<Expr, FilterError> {
        let mut conditions = vec![self.not_term()?];
        while self.take_keyword("and") {
            conditions.push(self.not_term()?);
        }
        Ok(one_or(conditions, |conditions, at| Expr::All { conditions, at }))
    }

    fn not_term(&mut self) -> Result<Expr, FilterError> {
        let start = self.at().start;
        if self.take_keyword("not") {
            let operand = self.deeper(Self::not_term)?;
            return Ok(not(operand, start));
        }
        self.predicate()
    }

    fn predicate(&mut self) -> Result<Expr, FilterError> {
        let operand = self.sum()?;
        let start = operand.at().start;
        if let Some(comparison) = self.take_comparison() {
            let right = self.sum()?;
            let at = start..right.at().end;
            return Ok(Expr::Compare { comparison, left: Box::new(operand), right: Box::new(right), at });
        }
        if self.take_keyword("is") {
            let negated = self.take_keyword("not");
            let at = start..self.at().end;
            let found = self.take_keyword("null");
            self.want(found, if negated { "`null`" } else { "`null` or `not null`" })?;
            return Ok(negate_if(negated, Expr::IsNull { operand: Box::new(operand), at }));
        }
        let negated = self.take_keyword("not");
        let test = match self.peek() {
            Token::Keyword("in") => self.in_list(operand)?,
            Token::Keyword("between") => self.between(operand)?,
            Token::Keyword("like") => self.like(operand)?,
            _ if negated => return Err(self.unexpected("`in`, `between` or `like`")),
            _ => return Ok(operand),
        };
        Ok(negate_if(negated, test))
    }

    fn take_comparison(&mut self) -> Option<Comparison> {
        let Token::Sign(sign) = self.peek() else { return None };
        let comparison = match *sign {
            "=" => Comparison::Equal,
            "<>" | "!=" => Comparison::NotEqual,
            "<" => Comparison::Less,
            "<=" => Comparison::LessEqual,
            ">" => Comparison::Greater,
            ">=" => Comparison::GreaterEqual,
            _ => return None,
        };
        self.step();
        Some(comparison)
    }

    fn in_list(&mut self, operand: Expr) -> Result<Expr, FilterError> {
        self.step();
        let found = self.take_sign("(");
        self.want(found, "`(` and a list of values")?;
        let mut items = vec![self.item()?];
        while self.take_sign(",") {
            items.push(self.item()?);
        }
        let at = operand.at().start..self.at().end;
        let found = self.take_sign(")");
        self.want(found, "`,` or `)`")?;
        Ok(Expr::In { operand: Box::new(operand), items, at })
    }

    fn item(&mut self) -> Result<(Literal, At), FilterError> {
        let start = self.at().start;
        let negative = self.take_sign("-");
        let value = match self.literal()? {
            Some(Literal::Integer(value)) if negative => Literal::Integer(-value),
            Some(Literal::Float(value)) if negative => Literal::Float(-value),
            Some(value) if !negative => value,
            _ => return Err(self.unexpected(if negative { "a number" } else { "a number, a 'text', true, false or null" })),
        };
        Ok((value, start..self.tokens[self.position - 1].1.end))
    }

    fn between(&mut self, operand: Expr) -> Result<Expr, FilterError> {
        self.step();
        let low = self.sum()?;
        let found = self.take_keyword("and");
        self.want(found, "the `and` of `between`")?;
        let high = self.sum()?;
        let at = operand.at().start..high.at().end;
        Ok(Expr::Between { operand: Box::new(operand), low: Box::new(low), high: Box::new(high), at })
    }

    fn like(&mut self, operand: Expr) -> Result<Expr, FilterError> {
        self.step();
        let Token::Text(pattern) = self.peek().clone() else {
            return Err(self.unexpected("a pattern such as 'abc%'"));
        };
        let at = operand.at().start..self.at().end;
        self.step();
        Ok(Expr::Like { operand: Box::new(operand), pattern, at })
    }

    fn sum(&mut self) -> Result<Expr, FilterError> {
        self.chain(Self::product, |sign| match sign {
            "+" => Some(Arithmetic::Add),
            "-" => Some(Arithmetic::Subtract),
            _ => None,
        })
    }

    fn product(&mut self) -> Result<Expr, FilterError> {
        self.chain(Self::unary, |sign| match sign {
            "*" => Some(Arithmetic::Multiply),
            "/" => Some(Arithmetic::Divide),
            _ => None,
        })
    }

    fn chain(
        &mut self,
        part: fn(&mut Self) -> Result<Expr, FilterError>,
        operation: fn(&str) -> Option<Arithmetic>,
    ) -> Result<Expr, FilterError> {
        let first = part(self)?;
        let mut rest = Vec::new();
        while let Token::Sign(sign) = self.peek() {
            let Some(operation) = operation(sign) else { break };
            self.step();
            rest.push((operation, part(self)?));
        }
        let Some((_, last)) = rest.last() else { return Ok(first) };
        let at = first.at().start..last.at().end;
        Ok(Expr::Chain { first: Box::new(first), rest, at })
    }

    fn unary(&mut self) -> Result<Expr, FilterError> {
        let start = self.at().start;
        if !self.take_sign("-") {
            return self.primary();
        }
        let operand = self.deeper(Self::unary)?;
        let at = start..operand.at().end;
        Ok(match operand {
            Expr::Literal { value: Literal::Integer(value), .. } => Expr::Literal { value: Literal::Integer(-value), at },
            Expr::Literal { value: Literal::Float(value), .. } => Expr::Literal { value: Literal::Float(-value), at },
            operand => Expr::Negate { operand: Box::new(operand), at },
        })
    }

    fn primary(&mut self) -> Result<Expr, FilterError> {
        let at = self.at();
        if self.take_sign("(") {
            let inner = self.deeper(Self::condition)?;
            let found = self.take_sign(")");
            self.want(found, "`)`")?;
            return Ok(inner);
        }
        if let Some(value) = self.literal()? {
            return Ok(Expr::Literal { value, at: at.start..self.tokens[self.position - 1].1.end });
        }
        let Token::Name(name, double_quoted) = self.peek().clone() else {
            return Err(self.unexpected("a column, a number, a 'text' or `(`"));
        };
        self.step();
        Ok(Expr::Column { name, double_quoted, at })
    }

    /// Takes a literal if one stands here.
    fn literal(&mut self) -> Result<Option<Literal>, FilterError> {
        let value = match self.peek() {
            Token::Keyword("null") => Literal::Null,
            Token::Keyword("true") => Literal::Boolean(true),
            Token::Keyword("false") => Literal::Boolean(false),
            Token::Text(text) => Literal::Text(text.clone()),
            Token::Number(digits) => number(digits, self.at())?,
            Token::Name(name, false) if is_date_word(name) => return self.instant(),
            _ => return Ok(None),
        };
        self.step();
        Ok(Some(value))
    }

    fn instant(&mut self) -> Result<Option<Literal>, FilterError> {
        let Some((Token::Text(text), at)) = self.tokens.get(self.position + 1) else { return Ok(None) };
        let nanos = instant::parse(text, at)?;
        self.position += 2;
        Ok(Some(Literal::Instant(nanos)))
    }
}

fn is_date_word(name: &str) -> bool {
    name.eq_ignore_ascii_case("date") || name.eq_ignore_ascii_case("timestamp")
}

fn number(digits: &str, at: At) -> Result<Literal, FilterError> {
    if let Ok(value) = digits.parse::<i128>() {
        return Ok(Literal::Integer(value));
    }
    match digits.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(Literal::Float(value)),
        _ => Err(FilterError::new(at, FilterProblem::Number { text: digits.to_owned() })),
    }
}

fn not(operand: Expr, start: usize) -> Expr {
    let at = start..operand.at().end;
    Expr::Not { operand: Box::new(operand), at }
}

fn negate_if(negated: bool, test: Expr) -> Expr {
    let start = test.at().start;
    if negated { not(test, start) } else { test }
}

fn one_or(mut conditions: Vec<Expr>, many: fn(Vec<Expr>, At) -> Expr) -> Expr {
    match (conditions.first(), conditions.last()) {
        (Some(first), Some(last)) if conditions.len() > 1 => {
            let at = first.at().start..last.at().end;
            many(conditions, at)
        }
        _ => conditions.swap_remove(0),
    }
}

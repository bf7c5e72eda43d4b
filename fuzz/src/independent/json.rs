//! JSON without floats, duplicate keys and ambiguity: what our formats may hold at most.

/// A value read, with its keys in the order in which they stand.
#[derive(Debug, PartialEq, Eq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// An integer's digits.
    Integer(String),
    /// A text.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object; no key twice.
    Object(Vec<(String, Json)>),
}

/// Why a text has no single meaning.
pub type Why = &'static str;

/// Reads a document that has one meaning.
///
/// # Errors
/// It is no JSON, or holds a float, a key twice, or an escape of half a letter.
pub fn read(text: &[u8]) -> Result<Json, Why> {
    let text = std::str::from_utf8(text).map_err(|_| "not UTF-8")?;
    let mut reader = Reader { rest: text };
    let value = reader.value(0)?;
    reader.space();
    if reader.rest.is_empty() { Ok(value) } else { Err("bytes behind the end") }
}

impl Json {
    /// The one compact spelling.
    pub fn spelled(&self) -> String {
        let mut out = String::new();
        self.spell(&mut out);
        out
    }

    fn spell(&self, out: &mut String) {
        let separated = |out: &mut String, at: usize| {
            if at > 0 {
                out.push(',');
            }
        };
        match self {
            Json::Null => out.push_str("null"),
            Json::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Json::Integer(digits) => out.push_str(digits),
            Json::Text(text) => spell_text(text, out),
            Json::List(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    separated(out, at);
                    item.spell(out);
                }
                out.push(']');
            }
            Json::Object(members) => {
                out.push('{');
                for (at, (key, value)) in members.iter().enumerate() {
                    separated(out, at);
                    spell_text(key, out);
                    out.push(':');
                    value.spell(out);
                }
                out.push('}');
            }
        }
    }
}

fn spell_text(text: &str, out: &mut String) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if (control as u32) < 0x20 => out.push_str(&format!("\\u{:04x}", control as u32)),
            other => out.push(other),
        }
    }
    out.push('"');
}

struct Reader<'a> {
    rest: &'a str,
}

const DEPTH_MAX: usize = 200;

impl Reader<'_> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn eat(&mut self, word: &str) -> bool {
        match self.rest.strip_prefix(word) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self, depth: usize) -> Result<Json, Why> {
        if depth > DEPTH_MAX {
            return Err("too deep");
        }
        self.space();
        match self.rest.bytes().next().ok_or("a value is missing")? {
            b'n' if self.eat("null") => Ok(Json::Null),
            b't' if self.eat("true") => Ok(Json::Bool(true)),
            b'f' if self.eat("false") => Ok(Json::Bool(false)),
            b'"' => self.text().map(Json::Text),
            b'[' => self.list(depth),
            b'{' => self.object(depth),
            b'-' | b'0'..=b'9' => self.integer(),
            _ => Err("not a value"),
        }
    }

    fn integer(&mut self) -> Result<Json, Why> {
        let unsigned = self.rest.strip_prefix('-').unwrap_or(self.rest);
        let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
        let len = self.rest.len() - unsigned.len() + digits;
        let (number, rest) = self.rest.split_at(len);
        if digits == 0 || (digits > 1 && unsigned.starts_with('0')) {
            return Err("not a number");
        }
        if rest.starts_with(['.', 'e', 'E']) {
            return Err("a float");
        }
        if number == "-0" {
            return Err("a zero with a sign");
        }
        self.rest = rest;
        Ok(Json::Integer(number.to_owned()))
    }

    fn list(&mut self, depth: usize) -> Result<Json, Why> {
        self.eat("[");
        let mut items = Vec::new();
        self.space();
        if self.eat("]") {
            return Ok(Json::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.space();
            if self.eat("]") {
                return Ok(Json::List(items));
            }
            if !self.eat(",") {
                return Err("a list does not go on");
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, Why> {
        self.eat("{");
        let mut members: Vec<(String, Json)> = Vec::new();
        let mut keys = std::collections::HashSet::new();
        self.space();
        if self.eat("}") {
            return Ok(Json::Object(members));
        }
        loop {
            self.space();
            if !self.rest.starts_with('"') {
                return Err("a key is missing");
            }
            let key = self.text()?;
            if !keys.insert(key.clone()) {
                return Err("a key twice");
            }
            self.space();
            if !self.eat(":") {
                return Err("a key without a value");
            }
            members.push((key, self.value(depth + 1)?));
            self.space();
            if self.eat("}") {
                return Ok(Json::Object(members));
            }
            if !self.eat(",") {
                return Err("an object does not go on");
            }
        }
    }

    fn text(&mut self) -> Result<String, Why> {
        self.eat("\"");
        let mut out = String::new();
        let mut letters = self.rest.char_indices();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(out);
                }
                '\\' => {
                    let (_, escaped) = letters.next().ok_or("a text without an end")?;
                    out.push(match escaped {
                        '"' | '\\' | '/' => escaped,
                        'b' => '\u{8}',
                        'f' => '\u{c}',
                        'n' => '\n',
                        'r' => '\r',
                        't' => '\t',
                        'u' => {
                            let mut unit = || -> Result<u16, Why> {
                                let digits: String =
                                    letters.by_ref().take(4).map(|(_, digit)| digit).collect();
                                if digits.len() != 4 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit())
                                {
                                    return Err("not an escape");
                                }
                                u16::from_str_radix(&digits, 16).map_err(|_| "not an escape")
                            };
                            let first = unit()?;
                            let second = if (0xd800..0xdc00).contains(&first) {
                                let mut next = || letters.next().map(|(_, letter)| letter);
                                if (next(), next()) != (Some('\\'), Some('u')) {
                                    return Err("half a letter");
                                }
                                let digits: String =
                                    letters.by_ref().take(4).map(|(_, digit)| digit).collect();
                                if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                                    return Err("not an escape");
                                }
                                Some(u16::from_str_radix(&digits, 16).map_err(|_| "not an escape")?)
                            } else {
                                None
                            };
                            let units = std::iter::once(first).chain(second);
                            match char::decode_utf16(units).collect::<Result<Vec<_>, _>>() {
                                Ok(letters) if letters.len() == 1 => letters[0],
                                _ => return Err("half a letter"),
                            }
                        }
                        _ => return Err("not an escape"),
                    });
                }
                control if (control as u32) < 0x20 => return Err("a control character"),
                other => out.push(other),
            }
        }
        Err("a text without an end")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_two_readings_has_none_here() {
        for bad in [
            "",
            "1.0",
            "1e0",
            "-0",
            "01",
            "{\"a\":1,\"a\":2}",
            "{\"a\":1,\"\\u0061\":2}",
            "[1,]",
            "\"\\ud800\"",
            "\"\\ud800\\u0041\"",
            "\"\n\"",
            "1 2",
            "nul",
            "\"\\u12\"",
            "\u{feff}1",
        ] {
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
        for good in ["1", "-1", " [1 , null,true] ", "{\"a\":{\"a\":1}}", "\"\\ud83d\\ude00\"", "\"\\u660e\""]
        {
            assert!(read(good.as_bytes()).is_ok(), "{good}");
        }
        let spelled = "{\"b\":[1,\"明\\n\\u0001\"],\"a\":null}";
        assert_eq!(read(spelled.as_bytes()).unwrap().spelled(), spelled);
    }
}

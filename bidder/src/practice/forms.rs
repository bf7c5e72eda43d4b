//! Made-up forms: who hands in, and what is quoted; the same for the same number.

use serde_json::{Map, Value, json};

/// A contact form of a person whose numbers have the right form and belong to nobody: there is no area 999999.
pub fn contact(no: u32) -> Value {
    let body = format!("99999919900101{:03}", no % 1_000);
    json!({
        "name": format!("演练代表{no}"),
        "id_number": format!("{body}{}", check_digit(&body)),
        "mobile": format!("190{:08}", no % 100_000_000),
        "postcode": "310000",
        "address": format!("演练路 {no} 号"),
    })
}

/// Bid sheets for lots 1 to `lots`: a spread of prices between 0.86 and 1 million yuan for the first lot, growing
/// by 40,000 yuan a lot. `better`: 20,000 yuan less.
pub fn sheets(no: u32, lots: u16, better: bool) -> Value {
    let mut all = Map::new();
    for lot in 1..=lots {
        let fen = 86_000_000 + u64::from(lot - 1) * 4_000_000 + u64::from(no) * 713_507 % 12_000_000;
        let fen = if better { fen - 2_000_000 } else { fen };
        let sheet = json!({
            "price": format!("{}.{:02}", fen / 100, fen % 100),
            "delivery_or_lead": format!("合同签订后 {} 日内", 15 + no % 20),
            "bid_security_method": if no.is_multiple_of(3) { "电子保函" } else { "银行转账" },
            "declaration_signed": true,
            "remark": if better { "替换投标" } else { "" },
        });
        all.insert(lot.to_string(), sheet);
    }
    json!({ "lots": all })
}

/// GB 11643: weights modulo 11.
fn check_digit(body: &str) -> char {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    const DIGITS: [char; 11] = ['1', '0', 'X', '9', '8', '7', '6', '5', '4', '3', '2'];
    let sum: u32 = body.bytes().zip(WEIGHTS).map(|(digit, weight)| u32::from(digit - b'0') * weight).sum();
    DIGITS[(sum % 11) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_number_of_practice_has_the_right_check_digit() {
        assert_eq!(check_digit("11010519491231002"), 'X');
        assert_eq!(check_digit("44052418800101001"), '4');
    }
}

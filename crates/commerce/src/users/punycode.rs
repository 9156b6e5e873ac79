//! Punycode (RFC 3492): a domain's label of any script, in ASCII. The module decodes only, without the tables that a look-up
//! of names needs as well: a crate for all of that would be 160 KB of the binary.

// Section 5: the parameters for domain names.
const BASE: u32 = 36;
const LEAST: u32 = 1;
const MOST: u32 = 26;
const SKEW: u32 = 38;
const DAMP: u32 = 700;
const FIRST_BIAS: u32 = 72;
const FIRST_CODE_POINT: u32 = 128;

/// The Unicode form of a label, given without its `xn--` and in lower case; `None` where it is no Punycode. Section 6.2.
pub fn decode(label: &str) -> Option<String> {
    let (basic, rest) = label.rsplit_once('-').filter(|(basic, _)| !basic.is_empty()).unwrap_or(("", label));
    let mut decoded: Vec<char> = basic.is_ascii().then(|| basic.chars().collect())?;
    let mut digits = rest.bytes().map(digit).peekable();
    let (mut code_point, mut place, mut bias) = (FIRST_CODE_POINT, 0_u32, FIRST_BIAS);
    while digits.peek().is_some() {
        let (before, mut weight, mut at) = (place, 1_u32, BASE);
        loop {
            let digit = digits.next()??;
            place = place.checked_add(digit.checked_mul(weight)?)?;
            let threshold = at.saturating_sub(bias).clamp(LEAST, MOST);
            if digit < threshold {
                break;
            }
            weight = weight.checked_mul(BASE - threshold)?;
            at += BASE;
        }
        let length = u32::try_from(decoded.len()).ok()? + 1;
        bias = adapted(place - before, length, before == 0);
        code_point = code_point.checked_add(place / length)?;
        place %= length;
        decoded.insert(place as usize, char::from_u32(code_point)?);
        place += 1;
    }
    Some(decoded.into_iter().collect())
}

/// Section 6.1.
fn adapted(delta: u32, length: u32, is_first: bool) -> u32 {
    let mut delta = delta / if is_first { DAMP } else { 2 };
    delta += delta / length;
    let mut bias = 0;
    while delta > (BASE - LEAST) * MOST / 2 {
        delta /= BASE - LEAST;
        bias += BASE;
    }
    bias + (BASE - LEAST + 1) * delta / (delta + SKEW)
}

fn digit(byte: u8) -> Option<u32> {
    match byte {
        b'a'..=b'z' => Some(u32::from(byte - b'a')),
        b'0'..=b'9' => Some(u32::from(byte - b'0') + 26),
        _ => None,
    }
}

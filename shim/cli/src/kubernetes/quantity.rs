//! Kubernetes' quantities: `100m`, `1.5Gi`, `2e3`.

/// Thousandths of thousandths of thousandths, so that `n` is a whole number.
const NANO: i128 = 1_000_000_000;

/// An amount of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Quantity(i128);

impl Quantity {
    /// Reads one as the API server does; `None` where it would not.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('+').unwrap_or(text);
        let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-')).unwrap_or(text.len());
        let (mantissa, suffix) = text.split_at_checked(end)?;
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let negative = whole.starts_with('-');
        let whole = whole.strip_prefix('-').unwrap_or(whole);
        let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty())
            || !all_digits(whole)
            || !all_digits(fraction)
            || fraction.len() > 18
        {
            return None;
        }
        let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
        let (up, down) = factor(suffix)?;
        let below = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?.checked_mul(down)?;
        let above = digits.checked_mul(NANO)?.checked_mul(up)?;
        // Kubernetes rounds what is finer than a billionth up.
        let value = above.checked_add(below - 1)? / below;
        Some(Self(if negative { -value } else { value }))
    }

    /// Whole units, rounded up.
    pub(crate) fn value(self) -> i64 {
        clamped(rounded_up(self.0, NANO))
    }

    /// Thousandths, rounded up.
    pub(crate) fn milli(self) -> i64 {
        clamped(rounded_up(self.0, NANO / 1000))
    }

    pub(crate) fn is_zero(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

fn rounded_up(value: i128, unit: i128) -> i128 {
    value.div_euclid(unit) + i128::from(value.rem_euclid(unit) != 0)
}

fn clamped(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

/// What a suffix multiplies by and divides by.
fn factor(suffix: &str) -> Option<(i128, i128)> {
    let binary = |power: u32| Some((1024_i128.pow(power), 1));
    let decimal = |power: u32| Some((10_i128.pow(power), 1));
    match suffix {
        "" => Some((1, 1)),
        "n" => Some((1, NANO)),
        "u" => Some((1, 1_000_000)),
        "m" => Some((1, 1000)),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = 10_i128.checked_pow(exponent.unsigned_abs()).filter(|_| exponent.abs() <= 18)?;
            Some(if exponent < 0 { (1, power) } else { (power, 1) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_those_of_the_api_server() {
        for (text, value, milli) in [
            ("1", 1, 1000),
            ("100m", 1, 100),
            ("1.5", 2, 1500),
            ("1Gi", 1 << 30, (1 << 30) * 1000),
            ("128974848", 128_974_848, 128_974_848_000),
            ("1e3", 1000, 1_000_000),
            ("0.5m", 1, 1),
            (".5", 1, 500),
            ("2k", 2000, 2_000_000),
            ("-1", -1, -1000),
        ] {
            let quantity = Quantity::parse(text).unwrap();
            assert_eq!((quantity.value(), quantity.milli()), (value, milli), "{text}");
        }
        for wrong in ["", "Gi", "1GB", "1 Gi", "one", "1..2", "--1", "1e", "1e99", "99999999999999999999999999999999Ei"]
        {
            assert_eq!(Quantity::parse(wrong), None, "{wrong}");
        }
    }
}

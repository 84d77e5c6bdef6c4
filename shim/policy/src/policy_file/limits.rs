//! The settings of limits that a profile has only where the file gives them.

use toml::Spanned;

use super::error::{Place, PolicyError};
use super::quantity::{self, Unit};
use super::shape::{Quantity, RuleTable};
use crate::profile::{Ceiling, Disk, DiskLimit, DiskLimits, High, NumberSet, Settings, Throttle};
use crate::rules::Rule;

/// OCI's scale of `blockIO.weight`.
const WEIGHTS: std::ops::RangeInclusive<u16> = 10..=1000;

/// Takes those of one rule.
pub(super) fn set(
    settings: &mut Settings,
    rule: &Rule,
    table: &RuleTable,
    key: &str,
    place: &Place,
) -> Result<(), PolicyError> {
    if let Some(value) = &table.high {
        settings.memory_high = Some(high(value, &format!("{key}.high"), place)?);
    }
    if let Some(whole) = &table.oom_group {
        settings.oom_group = Some(*whole.get_ref());
    }
    if let Some(list) = &table.cpus {
        settings.cpus = Some(numbers(list, &format!("{key}.cpus"), place)?);
    }
    if let Some(list) = &table.mems {
        settings.mems = Some(numbers(list, &format!("{key}.mems"), place)?);
    }
    if rule.id.as_str() == "res.hugepages" {
        settings.huge_pages = huge_pages(settings.huge_pages, table, key, place)?;
    }
    if let Some(list) = &table.limits {
        settings.disks = disk_limits(list, &format!("{key}.limits"), place)?;
    }
    if let Some(weight) = &table.weight {
        if !WEIGHTS.contains(weight.get_ref()) {
            let mend = format!("choose a number from {} to {}", WEIGHTS.start(), WEIGHTS.end());
            return Err(place.wrong(weight.span(), &format!("{key}.weight"), "is no weight", mend));
        }
        settings.disk_weight = Some(*weight.get_ref());
    }
    Ok(())
}

/// Bytes, or a share of the memory limit such as `80%`.
fn high(value: &Spanned<Quantity>, key: &str, place: &Place) -> Result<High, PolicyError> {
    let share = match value.get_ref() {
        Quantity::Text(text) => text.strip_suffix('%'),
        Quantity::Number(_) => None,
    };
    let Some(share) = share else { return quantity::read(value, Unit::Bytes, key, place).map(High::Bytes) };
    let percent = quantity::number(share).filter(|share| (1..=100).contains(share));
    percent
        .map(High::Percent)
        .ok_or_else(|| place.wrong(value.span(), key, "is no share", "write 1% to 100% of the memory limit, or bytes"))
}

fn numbers(list: &Spanned<String>, key: &str, place: &Place) -> Result<NumberSet, PolicyError> {
    NumberSet::parse(list.get_ref())
        .ok_or_else(|| place.wrong(list.span(), key, "is no list of numbers", "write it as \"0-3,8\""))
}

/// A maximum alone leaves the default at none at all; a default alone leaves what is asked for.
fn huge_pages(
    before: Option<Ceiling>,
    table: &RuleTable,
    key: &str,
    place: &Place,
) -> Result<Option<Ceiling>, PolicyError> {
    let read = |value: &Option<Spanned<Quantity>>, name: &str| {
        let value = value.as_ref();
        value.map(|value| quantity::read_or_zero(value, Unit::Bytes, &format!("{key}.{name}"), place)).transpose()
    };
    let (default, max) = (read(&table.default, "default")?, read(&table.max, "max")?);
    if (default, max) == (None, None) {
        return Ok(before);
    }
    let max = max.or_else(|| before.map(|before| before.max)).unwrap_or(quantity::MOST);
    let default = default.unwrap_or_else(|| before.map_or(0, |before| before.default.min(max)));
    match &table.default {
        Some(given) if default > max => {
            Err(place.wrong(given.span(), &format!("{key}.default"), "is above max", "lower default, or raise max"))
        }
        _ => Ok(Some(Ceiling { default, max })),
    }
}

/// `8:0 rbps=10MiB wiops=200`, and `*` for every other disk.
fn disk_limits(list: &Spanned<Vec<Spanned<String>>>, key: &str, place: &Place) -> Result<DiskLimits, PolicyError> {
    let mut all = DiskLimits::default();
    for entry in list.get_ref() {
        let wrong = |problem: &str| {
            let mend = "write major:minor or *, then rates in a second, such as \"8:0 rbps=10MiB wiops=200\"";
            place.wrong(entry.span(), key, problem, mend)
        };
        let mut words = entry.get_ref().split(' ');
        let disk = words.next().and_then(disk).ok_or_else(|| wrong("names no disk"))?;
        let mut rates = 0;
        for word in words {
            let (throttle, rate) = rate(word).ok_or_else(|| wrong("holds no rate"))?;
            if all.0.iter().any(|known| (known.disk, known.throttle) == (disk, throttle)) {
                return Err(wrong("gives a rate twice"));
            }
            all.0.push(DiskLimit { disk, throttle, rate });
            rates += 1;
        }
        if rates == 0 {
            return Err(wrong("holds no rate"));
        }
    }
    Ok(all)
}

#[expect(clippy::option_option, reason = "no disk, every disk, one disk")]
fn disk(text: &str) -> Option<Option<Disk>> {
    if text == "*" { Some(None) } else { super::lists::device_numbers(text).map(Some) }
}

fn rate(word: &str) -> Option<(Throttle, u64)> {
    let (key, text) = word.split_once('=')?;
    let throttle = Throttle::named(key)?;
    let unit = || if throttle.is_bytes() { quantity::parse(text, Unit::Bytes) } else { None };
    let rate = quantity::number(text).or_else(unit)?;
    (rate > 0).then_some((throttle, rate))
}

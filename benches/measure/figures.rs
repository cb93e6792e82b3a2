//! What was measured, beside what was hoped for.

use std::fmt;

#[derive(Default)]
pub struct Figures {
    rows: Vec<(String, f64, &'static str, Goal)>,
}

#[derive(Clone, Copy)]
pub enum Goal {
    AtLeast(f64),
    AtMost(f64),
    None,
}

impl Figures {
    pub fn add(&mut self, name: impl Into<String>, value: f64, unit: &'static str, goal: Goal) {
        let name = name.into();
        println!("{name}: {value:.3} {unit}");
        self.rows.push((name, value, unit, goal));
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n| figure | measured | goal | |\n|---|---|---|---|")?;
        for (name, value, unit, goal) in &self.rows {
            let (goal, verdict) = match *goal {
                Goal::AtLeast(least) => (format!("≥ {least} {unit}"), *value >= least),
                Goal::AtMost(most) => (format!("≤ {most} {unit}"), *value <= most),
                Goal::None => (String::new(), true),
            };
            writeln!(
                f,
                "| {name} | {value:.2} {unit} | {goal} | {} |",
                if verdict { "" } else { "short" }
            )?;
        }
        Ok(())
    }
}

/** Texts to start from. */

const WEATHER = ["calm sea", "a light breeze", "fair wind", "fog until noon", "steady rain", "a clear sky"];
const CHORES = ["The cook baked bread.", "We mended the sail.", "Two dolphins followed us.", "The crew rested."];
const shipLog = Array.from(
  { length: 34 },
  (_, day) => `Day ${day + 1}: ${WEATHER[day % 6]}, ${3 + ((day * 7) % 9)} knots. ${CHORES[day % 4]}`,
);

const BLANK = { queries: [], documents: [], task: null, truncation: null };

export const EXAMPLES = [
  {
    name: "Model card",
    queries: ["how much protein should a female eat", "南瓜的家常做法"],
    documents: [
      "As a general guideline, the average requirement of protein for women ages 19 to 70 is 46 grams per day.",
      "清炒南瓜丝:嫩南瓜半个切成细丝,锅烧热放油,入葱花煸出香味,入南瓜丝快速翻炒一分钟左右。",
    ],
  },
  {
    name: "Search across languages",
    queries: ["¿Cómo cambio mi contraseña?", "パスワードを変更する方法", "wo finde ich meine Rechnungen"],
    documents: [
      "To choose a new password, open Settings, then Security, and select Change password.",
      "Pour supprimer votre compte, écrivez à l'assistance depuis votre adresse enregistrée.",
      "Rechnungen finden Sie unter Konto, Zahlungen. Jede Rechnung lässt sich als PDF herunterladen.",
      "新しいパスワードは、設定の「セキュリティ」で変更できます。",
      "La aplicación está disponible en doce idiomas; elija el suyo en Preferencias.",
    ],
  },
  {
    name: "Match translations",
    task: "bitext",
    queries: [
      "Where is the railway station?",
      "I have two brothers and a sister.",
      "The weather is very cold today.",
      "Thank you for your help.",
    ],
    documents: [
      "Hoy hace mucho frío.",
      "Merci pour votre aide.",
      "駅はどこですか。",
      "Ich habe zwei Brüder und eine Schwester.",
      "Il ristorante è chiuso la domenica.",
    ],
  },
  {
    name: "عربي · فارسی · עברית",
    queries: ["ما هي عاصمة مصر؟", "پایتخت ایران کجاست؟", "מהי בירת ישראל?"],
    documents: [
      "القاهرة هي عاصمة مصر وأكبر مدنها، وتقع على ضفاف نهر النيل.",
      "تهران پایتخت ایران و پرجمعیت‌ترین شهر این کشور است.",
      "ירושלים היא עיר הבירה של ישראל.",
      "البحر الميت أخفض بقعة على سطح اليابسة.",
      "سیب‌زمینی را پوست بکنید و در آب نمک بپزید.",
    ],
  },
  {
    name: "Same meaning?",
    task: "sts",
    queries: ["The cat is sleeping on the sofa.", "Prices rose by three percent last year."],
    documents: [
      "A cat lies asleep on a couch.",
      "Die Katze schläft auf dem Sofa.",
      "The dog is barking at the door.",
      "Last year prices went up three percent.",
      "Les prix ont augmenté de trois pour cent l'an dernier.",
      "Salaries stayed the same last year.",
    ],
  },
  {
    name: "Too long to read",
    queries: ["where did the ship meet dolphins", "an island with a lighthouse"],
    documents: [
      `${shipLog.join("\n")}\nDay 35: land in sight at last, a green island with a white lighthouse.`,
      "The keeper of the lighthouse lit the lamp every evening at dusk.",
      "Bread without an oven: bake it in a covered pan over a low fire.",
    ],
  },
].map((example) => ({ ...BLANK, ...example }));

"""Fixed: questions whose answers are written by hand.

Yes-or-no questions, and short answers in other languages; texts alone, written for this project.
The released model cannot write the languages, so these rows teach the form of an answer and little
of the language.
"""

YES, NO, MAYBE = "My answer is yes.", "My answer is no.", "My answer is maybe."

CLOSED_QUESTIONS: tuple[tuple[str, str], ...] = (
    ("Is a whale a mammal?", YES),
    ("Is Portugal in Asia?", NO),
    ("Will it rain in Oslo on the tenth of next month?", MAYBE),
    ("Is gold heavier than wood of the same size?", YES),
    ("Do spiders have six legs?", NO),
    ("Is the cello larger than the violin?", YES),
    ("Is tea better than coffee?", MAYBE),
    ("Does the sun rise in the west?", NO),
    ("Can water boil below a hundred degrees on a high mountain?", YES),
    ("Is a tomato a mineral?", NO),
    ("Should I buy a red bicycle or not?", MAYBE),
    ("Are there more than twenty hours in a day?", YES),
    ("Did Napoleon own a telephone?", NO),
    ("Is chess a game for two players?", YES),
    ("Would my aunt enjoy a trip to Finland?", MAYBE),
    ("Is the Sahara a desert?", YES),
    ("Is mercury a liquid at room temperature?", YES),
    ("Do penguins live at the North Pole?", NO),
    ("Is a kilometre longer than a mile?", NO),
    ("Will there be flying taxis in every town by 2050?", MAYBE),
    ("Is bread usually made with flour?", YES),
    ("Do fish breathe with lungs like ours?", NO),
    ("Is the piano a wind instrument?", NO),
    ("Is jazz more beautiful than folk music?", MAYBE),
    ("Is February the shortest month?", YES),
    ("Are bats birds?", NO),
)

LANGUAGES = {
    "es": "Spanish",
    "de": "German",
    "fr": "French",
    "it": "Italian",
    "pt": "Portuguese",
    "pl": "Polish",
    "uk": "Ukrainian",
    "fi": "Finnish",
    "ru": "Russian",
    "bg": "Bulgarian",
    "hi": "Hindi",
    "ar": "Arabic",
    "ko": "Korean",
    "vi": "Vietnamese",
    "sw": "Swahili",
}

FOREIGN_ANSWERS: tuple[tuple[str, str, str], ...] = (
    # request, language, answer
    (
        "What do you like about autumn?",
        "es",
        "Me gusta el otoño porque el aire es fresco y las hojas cambian de color. "
        "Por la tarde se puede pasear por el parque.",
    ),
    (
        "How do I boil an egg?",
        "es",
        "Primero hay que calentar el agua. Después se pone el huevo en el agua y se espera "
        "unos ocho minutos.",
    ),
    (
        "Tell me about your village.",
        "es",
        "Mi pueblo es pequeño y tranquilo. En la plaza hay una iglesia y una fuente muy antigua.",
    ),
    (
        "What do you like about autumn?",
        "de",
        "Ich mag den Herbst, weil die Luft frisch ist und die Blätter bunt werden. "
        "Am Nachmittag kann man im Wald spazieren gehen.",
    ),
    (
        "How do I boil an egg?",
        "de",
        "Zuerst muss man das Wasser erhitzen. Dann legt man das Ei hinein und wartet "
        "ungefähr acht Minuten.",
    ),
    (
        "Write a note to a friend who is ill.",
        "de",
        "Lieber Freund, ich habe gehört, dass du krank bist. Ich wünsche dir gute Besserung "
        "und komme dich bald besuchen.",
    ),
    (
        "What do you like about autumn?",
        "fr",
        "J'aime l'automne parce que l'air est frais et que les feuilles changent de couleur. "
        "L'après-midi, on peut se promener dans la forêt.",
    ),
    (
        "Describe a small shop.",
        "fr",
        "C'est une petite boutique au coin de la rue. On y vend du pain, du fromage et des fleurs.",
    ),
    (
        "How do I boil an egg?",
        "it",
        "Prima bisogna scaldare l'acqua. Poi si mette l'uovo nella pentola e si aspetta "
        "circa otto minuti.",
    ),
    (
        "Describe a small shop.",
        "it",
        "È un piccolo negozio in una strada tranquilla. "
        "Si vendono pane, formaggio e fiori freschi.",
    ),
    (
        "Tell me about your village.",
        "pt",
        "A minha aldeia é pequena e tranquila. Na praça há uma igreja e uma fonte muito antiga.",
    ),
    (
        "Why should one read books?",
        "pt",
        "Os livros ensinam coisas novas e mostram como vivem outras pessoas. "
        "Além disso, não custa muito ler.",
    ),
    (
        "Why should one read books?",
        "pl",
        "Książki uczą nas nowych rzeczy i pokazują, jak żyją inni ludzie. "
        "Poza tym czytanie jest spokojnym zajęciem.",
    ),
    (
        "Describe a rainy day.",
        "pl",
        "Pada przez cały dzień i ulice są puste. W domu jest ciepło i pijemy herbatę.",
    ),
    (
        "Describe a rainy day.",
        "uk",
        "Цілий день іде дощ, і вулиці порожні. Удома тепло, і ми п'ємо гарячий чай.",
    ),
    (
        "Tell me about your village.",
        "uk",
        "Моє село маленьке і тихе. На площі є церква і дуже старий колодязь.",
    ),
    (
        "Describe a rainy day.",
        "fi",
        "Sataa koko päivän ja kadut ovat tyhjiä. Sisällä on lämmintä ja me juomme teetä.",
    ),
    (
        "What do you eat for breakfast?",
        "fi",
        "Aamulla syön leipää ja juustoa. Juon myös kupin kahvia ja luen sanomalehteä.",
    ),
    (
        "What do you eat for breakfast?",
        "ru",
        "Утром я ем хлеб с сыром и пью чай. Иногда я готовлю кашу или варю яйцо.",
    ),
    (
        "Describe a rainy day.",
        "ru",
        "Весь день идёт дождь, и на улице никого нет. Дома тепло, и мы пьём горячий чай.",
    ),
    (
        "Why should one read books?",
        "ru",
        "Книги учат нас новому и показывают, как живут другие люди. Читать интересно и полезно.",
    ),
    (
        "What do you eat for breakfast?",
        "bg",
        "Сутрин ям хляб със сирене и пия чай. Понякога си правя и яйца.",
    ),
    (
        "Tell me about your village.",
        "bg",
        "Моето село е малко и тихо. На площада има църква и много стара чешма.",
    ),
    (
        "What do you eat for breakfast?",
        "hi",
        "मैं सुबह रोटी और फल खाता हूँ। मैं एक कप चाय भी पीता हूँ।",
    ),
    (
        "Describe a rainy day.",
        "hi",
        "आज सुबह से बारिश हो रही है। सड़कें खाली हैं और लोग घर में चाय पी रहे हैं।",
    ),
    (
        "Why should one read books?",
        "hi",
        "किताबें हमें नई बातें सिखाती हैं। पढ़ने से मन शांत रहता है।",
    ),
    (
        "What do you eat for breakfast?",
        "ar",
        "في الصباح آكل الخبز والجبن وأشرب الشاي. أحيانا آكل بيضة أيضا.",
    ),
    (
        "Describe a small shop.",
        "ar",
        "هذا متجر صغير في شارع هادئ. يبيع الخبز والجبن والزهور.",
    ),
    (
        "What do you eat for breakfast?",
        "ko",
        "저는 아침에 빵과 과일을 먹습니다. 그리고 따뜻한 차를 마십니다.",
    ),
    (
        "Describe a small shop.",
        "ko",
        "조용한 거리에 작은 가게가 있습니다. 그 가게에서는 빵과 꽃을 팝니다.",
    ),
    (
        "Describe a rainy day.",
        "vi",
        "Hôm nay trời mưa cả ngày và đường phố vắng vẻ. Trong nhà ấm áp và chúng tôi uống trà.",
    ),
    (
        "Tell me about your village.",
        "vi",
        "Làng của tôi nhỏ và yên tĩnh. Ở giữa làng có một cái giếng rất cổ.",
    ),
    (
        "Tell me about your village.",
        "sw",
        "Kijiji changu ni kidogo na kina utulivu. Watu wengi hapa ni wakulima na wavuvi.",
    ),
    (
        "What do you eat for breakfast?",
        "sw",
        "Asubuhi ninakula mkate na matunda. Pia ninakunywa kikombe kimoja cha chai.",
    ),
)
"""Request, ISO 639-1 code, answer."""

"""The things of the pocket world: what people call them, and their Unicode name in the emoji font."""

TRAINED = {
    "fox": "fox face", "panda": "panda face", "pig": "pig face", "frog": "frog face", "lion": "lion face",
    "tiger": "tiger face", "bear": "bear face", "penguin": "penguin", "owl": "owl", "unicorn": "unicorn face",
    "octopus": "octopus", "crab": "crab", "tropical fish": "tropical fish", "whale": "spouting whale",
    "butterfly": "butterfly", "snail": "snail", "ladybug": "lady beetle", "turtle": "turtle",
    "elephant": "elephant", "duck": "duck", "red apple": "red apple", "lemon": "lemon", "banana": "banana",
    "watermelon": "watermelon", "bunch of grapes": "grapes", "strawberry": "strawberry", "cherry": "cherries",
    "pineapple": "pineapple", "avocado": "avocado", "carrot": "carrot", "broccoli": "broccoli",
    "mushroom": "mushroom", "croissant": "croissant", "hamburger": "hamburger", "slice of pizza": "slice of pizza",
    "doughnut": "doughnut", "birthday cake": "birthday cake", "cupcake": "cupcake", "cup of coffee": "hot beverage",
    "mug of beer": "beer mug", "rocket": "rocket", "red car": "automobile", "bus": "bus", "fire engine": "fire engine",
    "tractor": "tractor", "bicycle": "bicycle", "sailboat": "sailboat", "tent": "tent", "palm tree": "palm tree",
    "pine tree": "evergreen tree", "cactus": "cactus", "sunflower": "sunflower", "tulip": "tulip", "rose": "rose",
    "yellow star": "glowing star", "sun": "sun with face", "rainbow": "rainbow", "umbrella": "umbrella with rain drops",
    "snowman": "snowman without snow", "campfire": "fire", "crown": "crown", "blue gem": "gem stone",
    "guitar": "guitar", "trumpet": "trumpet", "soccer ball": "soccer ball", "trophy": "trophy",
    "red balloon": "balloon", "camera": "camera", "light bulb": "electric light bulb", "candle": "candle",
    "old key": "old key", "pencil": "pencil", "red book": "closed book", "top hat": "top hat",
    "t-shirt": "t-shirt", "golden bell": "bell", "robot": "robot face", "ghost": "ghost", "skull": "skull",
    "pumpkin": "jack-o-lantern", "teddy bear": "teddy bear", "airplane": "small airplane",
}  # fmt: skip

HELD_OUT = {
    "peacock": "peacock", "flamingo": "flamingo", "parrot": "parrot", "lobster": "lobster", "hedgehog": "hedgehog",
    "zebra": "zebra face", "giraffe": "giraffe face", "raccoon": "raccoon", "dolphin": "dolphin", "bee": "honeybee",
    "dinosaur": "t-rex", "koala": "koala", "hamster": "hamster face", "taco": "taco", "ice cream": "ice cream",
    "bag of popcorn": "popcorn", "pretzel": "pretzel", "eggplant": "aubergine", "ear of corn": "ear of maize",
    "piece of cheese": "cheese wedge", "lollipop": "lollipop", "helicopter": "helicopter", "ambulance": "ambulance",
    "locomotive": "steam locomotive", "roller skate": "roller skate", "saxophone": "saxophone", "violin": "violin",
    "drum": "drum with drumsticks", "alarm clock": "alarm clock", "teapot": "teapot", "maple leaf": "maple leaf",
    "wrapped present": "wrapped present", "game die": "game die", "globe": "earth globe americas",
    "ball of yarn": "ball of yarn", "potted plant": "potted plant",
}  # fmt: skip
"""Never shown to the text-to-image model, its autoencoder or its CLIP: the unseen subjects of demo and tests."""

"""Draw a small data set: leaves on the ground."""

from pathlib import Path
from random import Random

from PIL import Image, ImageDraw

random = Random(0)
for folder in ("photos", "outlines"):
    Path("leaves", folder).mkdir(parents=True, exist_ok=True)
for split, count in (("train", 16), ("val", 4)):
    names = [f"{split}{i}" for i in range(count)]
    Path("leaves", f"{split}.txt").write_text("\n".join(names))
    for name in names:
        photo, outline = Image.new("RGB", (100, 80), (90, 70, 50)), Image.new("L", (100, 80))
        left, top = random.randint(10, 50), random.randint(10, 40)
        for image, value in ((photo, (30, 180, 40)), (outline, 1)):
            ImageDraw.Draw(image).ellipse((left, top, left + 40, top + 25), fill=value)
        photo.save(f"leaves/photos/{name}.jpg")
        outline.save(f"leaves/outlines/{name}.png")

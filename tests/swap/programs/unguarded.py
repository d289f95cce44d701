"""No guard: functions, globals and the executor at the top, with state and classes."""

from pool import Executor

calls = 0
words = []


class Word:
    made = 0

    def __init__(self, text):
        Word.made += 1
        self.text = text


def prepare(text):
    global prefix
    prefix = text


def count(text):
    global calls
    calls += 1
    words.append(text)
    return Word(prefix + text).text, calls, words, Word.made


with open("runs.txt", "a") as file:
    file.write("run\n")

with Executor(max_workers=1, initializer=prepare, initargs=("<",)) as executor:
    for text in "abc":
        print(executor.submit(count, text).result())

word = Word("here")
with Executor(max_workers=1) as executor:
    print(executor.submit(isinstance, word, Word).result())
print("here:", calls, words, Word.made, open("runs.txt").read().split())

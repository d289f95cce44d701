"""The guarded block defines functions and classes of its own and gives them to the executor."""

from pool import Executor

seen = []


def note(text):
    seen.append(text)
    return len(seen)


if __name__ == "__main__":

    class Job:
        done = 0

        def __init__(self, number):
            self.number = number

        def run(self):
            Job.done += 1
            return self.number * factor, note(self.number), Job.done

    def task(number):
        return Job(number).run()

    factor = 10
    with Executor(max_workers=1) as executor:
        print(list(executor.map(task, range(3))))
        print(executor.submit(Job(5).run).result())
        job = executor.submit(Job, 7).result()
        print(type(job) is Job, job.number)
        print(executor.submit(note, "last").result())
    print("here:", seen, Job.done)

"""Fields of a class are descriptors, which the guarded block changes."""

from pool import Executor as Pool


class Field:
    def __set_name__(self, o, n):
        self.name = n

    def __init__(self, default=None, validators=()):
        self.default, self.validators = default, list(validators)

    def __get__(self, o, c):
        if o is None:
            return self
        return o.__dict__.get(self.name, self.default)

    def __set__(self, o, v):
        for f in self.validators:
            f(v)
        o.__dict__[self.name] = v


class ModelMeta(type):
    registry = {}

    def __new__(m, name, bases, ns, **k):
        cls = super().__new__(m, name, bases, ns)
        cls.fields = {n: f for n, f in ns.items() if isinstance(f, Field)}
        m.registry[name] = cls
        return cls


class Model(metaclass=ModelMeta):
    objects = []

    def __init__(self, **k):
        for a, b in k.items():
            setattr(self, a, b)
        type(self).objects.append(self)


class User(Model):
    name = Field("x")
    age = Field(3)


class Group(Model):
    title = Field("t")
    users = Field()
    objects = []


def positive(v):
    if v < 0:
        raise ValueError(v)


ADMIN = User(name="admin", age=1)
STAFF = Group(title="staff", users=[ADMIN])


def work():
    u = User(name="n")
    try:
        u.age = -1
        e = None
    except ValueError as x:
        e = repr(x)
    return (
        u.age,
        e,
        User.fields["age"] is User.__dict__["age"],
        User.fields["age"].validators == [positive],
        ADMIN in Model.objects,
        STAFF.users[0] is ADMIN,
        len(Model.objects),
        len(Group.objects),
        sorted(ModelMeta.registry),
        ModelMeta.registry["User"] is User,
        ADMIN.age,
        STAFF.title,
    )


if __name__ == "__main__":
    User.age.validators.append(positive)
    User.age.default = 9
    ADMIN.age = 50
    STAFF.title = "changed"
    with Pool(1) as p:
        print(p.submit(work).result())
        print(p.submit(work).result())

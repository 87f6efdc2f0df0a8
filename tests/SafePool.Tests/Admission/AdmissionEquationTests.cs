using SafePool.Admission;
using SafePool.Driver;
using SafePool.Lifecycle;
using Xunit;

namespace SafePool.Tests.Admission;

/// <summary>Any sequence of allowed operations, against plain lists of places: INV-1 and INV-2 after each, and strict order of arrival.</summary>
public sealed class AdmissionEquationTests(ITestOutputHelper output)
{
    private const int FirstSize = 5;
    private const int LargestSize = 8;
    private const int MaxOpens = 2;

    private readonly AdmissionGate _gate = new(FirstSize, maxWaiters: 4, MaxOpens);
    private readonly List<int> _held = [];
    private readonly List<(int Place, bool Blocking)> _opening = [];
    private readonly List<int> _quarantined = [];
    private readonly List<Waiter> _waiting = [];
    private readonly List<int> _leaving = [];
    private int _idle;
    private int _places = FirstSize;
    private int _size = FirstSize;
    private bool _paused;

    [Fact]
    [Trait("Conformance", "3")]
    public void AnyOperations_InRandomOrder_KeepTheEquationAndTheOrder()
    {
        var seed = Random.Shared.Next();
        output.WriteLine($"seed {seed}");
        var random = new Random(seed);

        for (var i = 0; i < 20_000; i++)
        {
            Step(random);

            var vacant = _places - _idle - _held.Count - _leaving.Count - _opening.Count - _quarantined.Count;
            var expected = new GateCounts(_idle, _held.Count + _leaving.Count, _opening.Count, _quarantined.Count, _waiting.Count) { Size = _size, Limit = _size, IsPaused = _paused };
            Assert.Equal(expected, _gate.Read());
            Assert.Equal(_places - vacant - _leaving.Count > _size, _gate.HasSurplus);
            Assert.Equal(_places - vacant, expected.Existing);
            Assert.Equal(_paused ? 0 : Math.Max(0, _size - (_places - vacant)), expected.Room);
            Assert.Equal(_size > _places - vacant, _gate.HasRoom);
            Assert.True(_waiting.Count == 0 || _idle == 0, "INV-2");
            Assert.True(_opening.Count <= MaxOpens, "INV-4");
            Assert.All(_waiting, waiter => Assert.Null(GateKit.Result(waiter)));
        }
    }

    private void Step(Random random)
    {
        switch (random.Next(12))
        {
            case 0 when _gate.TryTake(out var taken):
                _idle--;
                _held.Add(taken);
                break;
            case 1 or 2:
                Enter(returning: random.Next(8) == 0);
                break;
            case 3 when _waiting.Count > 0:
                var leaving = TakeAny(_waiting, random);
                Assert.True(_gate.TryLeave(leaving, AdmissionOutcome.TimedOut));
                break;
            case 4 when _gate.TryBeginOpen(int.MaxValue, out var opened, out var blocking):
                Assert.False(_paused);
                AssertWithinSize();
                Assert.True(_waiting.Count > _opening.Count, "INV-4: no open without need");
                _opening.Add((opened, blocking));
                break;
            case 5 when _gate.TryBeginFill(random.Next(LargestSize + 1), int.MaxValue, out var filled):
                AssertWithinSize();
                _opening.Add((filled, false));
                break;
            case 6 when _opening.Count > 0:
                EndOpen(TakeAny(_opening, random), fails: random.Next(4) == 0);
                break;
            case 7 or 8 when _held.Count > 0:
                GiveBack(TakeAny(_held, random));
                break;
            case 9:
                Lose(random);
                break;
            case 10 when random.Next(4) == 0:
                Resize(random.Next(1, LargestSize + 1));
                break;
            case 10 when _held.Count > 0 && _gate.TryClaimSurplus(_held[0]):
                _leaving.Add(_held[0]);
                _held.RemoveAt(0);
                break;
            case 11 when _leaving.Count > 0:
                _gate.Vacate(TakeAny(_leaving, random));
                break;
            case 11 when random.Next(4) == 0:
                PauseOrResume();
                break;
        }
    }

    private void Enter(bool returning)
    {
        var waiter = GateKit.NewWaiter(_gate);
        switch (_gate.Enter(waiter, returning))
        {
            case { Outcome: AdmissionOutcome.Granted, Place: var place }:
                _idle--;
                _held.Add(place);
                break;
            case { Outcome: AdmissionOutcome.Queued }:
                _waiting.Insert(returning ? 0 : _waiting.Count, waiter);
                break;
            case { Outcome: AdmissionOutcome.Rejected }:
                Assert.False(returning);
                break;
        }
    }

    private void EndOpen((int Place, bool Blocking) open, bool fails)
    {
        if (!fails)
        {
            _gate.OpenSucceeded(open.Place, open.Blocking);
            GiveBack(open.Place);
            return;
        }

        _gate.OpenFailed(open.Place, open.Blocking, new InvalidOperationException("no"));
        ExpectFirst(AdmissionOutcome.Failed, -1);
    }

    private void GiveBack(int place)
    {
        if (_gate.TryGiveBack(place))
        {
            _idle++;
            return;
        }

        var hadSurplus = _gate.HasSurplus;
        Assert.NotEqual(_paused || hadSurplus, _gate.TryHandOver(place, out var isUnwanted));
        Assert.Equal(_paused || hadSurplus, isUnwanted);
        if (_paused)
        {
            _gate.Vacate(place);
            return;
        }

        if (isUnwanted)
        {
            _leaving.Add(place);
            return;
        }

        ExpectFirst(AdmissionOutcome.Granted, place);
        _held.Add(place);
    }

    private void Lose(Random random)
    {
        if (_quarantined.Count > 0)
        {
            var place = TakeAny(_quarantined, random);
            _gate.Release(place);
            _gate.Vacate(place);
        }
        else if (_held.Count > 0 && random.Next(2) == 0)
        {
            _gate.Vacate(TakeAny(_held, random));
        }
        else if (_held.Count > 0)
        {
            _quarantined.Add(_held[0]);
            _gate.Quarantine(_held[0]);
            _held.RemoveAt(0);
        }
    }

    private void Resize(int size)
    {
        _size = size;
        _places = Math.Max(_places, size);
        _gate.Resize(size, maxWaiters: 4, MaxOpens);
    }

    private void PauseOrResume()
    {
        if (_paused)
        {
            Assert.True(_gate.Resume());
        }
        else
        {
            Assert.True(_gate.TryPause(out var emptied));
            Assert.Equal(_idle, emptied);
            _idle = 0;
            Assert.Equal(_held.Count + _leaving.Count + _opening.Count == 0, _gate.AllVacant.IsCompleted);
        }

        _paused = !_paused;
    }

    /// <summary>INV-5, with the open that has just begun.</summary>
    private void AssertWithinSize() => Assert.True(_idle + _held.Count + _leaving.Count + _opening.Count + _quarantined.Count < _size, "INV-5");

    private void ExpectFirst(AdmissionOutcome outcome, int place)
    {
        if (_waiting.Count > 0)
        {
            var result = GateKit.Result(_waiting[0]);
            Assert.Equal((outcome, place), (result?.Outcome, result?.Place));
            _waiting.RemoveAt(0);
        }
    }

    private static T TakeAny<T>(List<T> list, Random random)
    {
        var index = random.Next(list.Count);
        var taken = list[index];
        list.RemoveAt(index);
        return taken;
    }
}

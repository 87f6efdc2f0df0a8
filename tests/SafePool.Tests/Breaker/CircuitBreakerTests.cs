using SafePool.Breaker;
using SafePool.Options;
using SafePool.TestKit;
using SafePool.Time;
using Xunit;

namespace SafePool.Tests.Breaker;

public sealed class CircuitBreakerTests
{
    private static readonly TimeSpan _tripAfter = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan _first = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan _longest = TimeSpan.FromMilliseconds(800);

    private readonly ManualTimeProvider _time = new();
    private readonly CircuitBreaker _breaker;

    public CircuitBreakerTests() => _breaker = Create(enabled: true);

    [Fact]
    public void OpensAllowed_AllIsWell_AreAsManyAsThePoolAllows()
    {
        Assert.Equal(4, _breaker.OpensAllowed(healthy: 4));
        Assert.True(_breaker.IsWell);
        Assert.Equal(TimeSpan.Zero, _breaker.RetryAfter);
    }

    [Fact]
    public void OpensAllowed_AfterAFailure_AreNoneAndThenOne()
    {
        Fail();

        Assert.Equal(0, _breaker.OpensAllowed(healthy: 4));
        _time.Advance(_first);
        Assert.Equal(1, _breaker.OpensAllowed(healthy: 4));
        Assert.False(_breaker.IsOpen);
    }

    [Fact]
    public void OpensAllowed_UnderSuspicion_AreOneAtOnce()
    {
        _breaker.Suspect();

        Assert.Equal(1, _breaker.OpensAllowed(healthy: 4));
        Assert.False(_breaker.IsFailing);
        _breaker.Answered();
        Assert.Equal(4, _breaker.OpensAllowed(healthy: 4));
    }

    [Fact]
    [Trait("Conformance", "76")]
    public void Failed_AgainAndAgain_DoublesThePauseOfAnOpenCircuitUpToTheLongest()
    {
        Trip();
        foreach (var milliseconds in (int[])[125, 250, 500, 800, 800, 800])
        {
            Fail();

            Assert.InRange(_breaker.RetryAfter.TotalMilliseconds, 0.8 * milliseconds, milliseconds);
            _time.Advance(TimeSpan.FromMilliseconds(milliseconds));
        }
    }

    [Fact]
    public void Failed_WhileCallersWait_LengthensThePauseByAQuarterUpToTwiceTheFirst()
    {
        foreach (var milliseconds in (int[])[100, 125, 156, 195, 200, 200])
        {
            Fail();

            Assert.InRange(_breaker.RetryAfter.TotalMilliseconds, 0.8 * milliseconds, milliseconds + 1);
            _time.Advance(TimeSpan.FromMilliseconds(milliseconds + 1));
        }
    }

    [Theory]
    [InlineData("success")]
    [InlineData("time")]
    [InlineData("probe")]
    [Trait("Conformance", "76")]
    public void Failed_AfterLongPauses_BeginsAnewOnlyAfterASuccess(string between)
    {
        Trip();
        for (var i = 0; i < 5; i++)
        {
            _time.Advance(_longest);
            Fail();
        }

        switch (between)
        {
            case "success":
                _breaker.Answered();
                break;
            case "time":
                _time.Advance(TimeSpan.FromHours(1));
                break;
            default:
                _time.Advance(_longest);
                Assert.True(_breaker.TryBeginProbe());
                break;
        }

        _time.Advance(TimeSpan.FromTicks(1));
        Fail();

        var pause = between == "success" ? _first : _longest;
        Assert.InRange(_breaker.RetryAfter, pause * 0.8, pause);
    }

    [Fact]
    public void Failed_SeveralThatBeganTogether_CountForThePauseOnce()
    {
        var begun = _time.GetTimestamp();
        _time.Advance(TimeSpan.FromMilliseconds(10));

        for (var i = 0; i < 4; i++)
        {
            _breaker.Failed(begun);
        }

        Assert.InRange(_breaker.RetryAfter, _first * 0.8, _first);
    }

    [Fact]
    public void TryTrip_FailuresHaveLastedForLess_DoesNot()
    {
        Fail();
        _time.Advance(_tripAfter - TimeSpan.FromTicks(1));

        Assert.False(_breaker.TryTrip());

        _time.Advance(TimeSpan.FromTicks(1));
        Assert.True(_breaker.TryTrip());
        Assert.False(_breaker.TryTrip());
        Assert.Equal(CircuitState.Open, _breaker.State);
    }

    [Fact]
    public void TryTrip_OneOpenThatHeardNothing_DoesNotHoweverLongAgo()
    {
        var begun = _time.GetTimestamp();
        _time.Advance(2 * _tripAfter);
        _breaker.Failed(begun, isRefusal: false);
        Assert.False(_breaker.TryTrip());

        // Several that were under way at the same time are one.
        _breaker.Failed(_time.GetTimestamp(), isRefusal: false);
        _time.Advance(10 * _tripAfter);

        Assert.False(_breaker.TryTrip());
        Assert.Equal(CircuitState.Closed, _breaker.State);
    }

    [Fact]
    public void TryTrip_TwoInSuccessionThatHeardNothing_Does()
    {
        for (var i = 0; i < 2; i++)
        {
            Assert.False(_breaker.TryTrip());
            var begun = _time.GetTimestamp();
            _time.Advance(_tripAfter);
            _breaker.Failed(begun, isRefusal: false);
            _time.Advance(_first);
        }

        Assert.True(_breaker.TryTrip());
    }

    [Fact]
    public void TryTrip_ASuccessBetweenTwoThatHeardNothing_DoesNot()
    {
        for (var i = 0; i < 2; i++)
        {
            _breaker.Answered();
            var begun = _time.GetTimestamp();
            _time.Advance(_tripAfter);
            _breaker.Failed(begun, isRefusal: false);
            _time.Advance(_first);
        }

        Assert.False(_breaker.TryTrip());
    }

    [Fact]
    public void TryTrip_OneRefusalAmongThoseThatHeardNothing_Does()
    {
        _breaker.Failed(_time.GetTimestamp(), isRefusal: true);
        _time.Advance(_tripAfter);

        Assert.True(_breaker.TryTrip());
    }

    [Fact]
    public void TryTrip_OneOpenThatTookLongToFail_CountsFromItsBeginning()
    {
        var begun = _time.GetTimestamp();
        _time.Advance(_tripAfter);
        _breaker.Failed(begun);

        Assert.True(_breaker.TryTrip());
        Assert.Equal(_tripAfter, _breaker.FailingFor);
    }

    [Fact]
    public void TryTrip_ASuccessInBetween_CountsFromTheNextFailure()
    {
        Fail();
        _time.Advance(_tripAfter);
        _breaker.Answered();
        Fail();

        Assert.False(_breaker.TryTrip());
    }

    [Fact]
    [Trait("Conformance", "79")]
    public void TryBeginProbe_AfterThePause_IsGivenToOneAndAgainOnlyAfterItFailed()
    {
        Trip();
        _time.Advance(_longest);

        Assert.True(_breaker.TryBeginProbe());
        Assert.Equal(CircuitState.Probing, _breaker.State);
        Assert.False(_breaker.TryBeginProbe());
        Assert.Equal(0, _breaker.OpensAllowed(healthy: 4));

        Fail();
        Assert.Equal(CircuitState.Open, _breaker.State);
        Assert.False(_breaker.TryBeginProbe());
        _time.Advance(_longest);
        Assert.True(_breaker.TryBeginProbe());
    }

    [Fact]
    [Trait("Conformance", "79")]
    public void Answered_WhileProbing_Closes()
    {
        Trip();
        _time.Advance(_longest);
        _breaker.TryBeginProbe();

        Assert.True(_breaker.Answered());

        Assert.True(_breaker is { State: CircuitState.Closed, IsWell: true });
        Assert.Equal(4, _breaker.OpensAllowed(healthy: 4));
        Assert.False(_breaker.Answered());
    }

    [Fact]
    public void PutOffProbe_NoPlaceToProbeIn_MayBeTriedAtOnceAgain()
    {
        Trip();
        _time.Advance(_longest);
        _breaker.TryBeginProbe();

        _breaker.PutOffProbe();

        Assert.Equal(CircuitState.Open, _breaker.State);
        Assert.True(_breaker.TryBeginProbe());
    }

    [Fact]
    public void Failed_WhenDisabled_IsForgotten()
    {
        var off = Create(enabled: false);

        off.Failed(_time.GetTimestamp());
        off.Suspect();
        _time.Advance(_tripAfter);

        Assert.False(off.TryTrip());
        Assert.Equal(4, off.OpensAllowed(healthy: 4));
    }

    /// <summary>Whatever happens in whatever order from several threads: one trip and one probe at a time, and a success ends it all.</summary>
    [Fact]
    public async Task AllMembers_FromSeveralThreads_NeverGiveTwoTheProbe()
    {
        var seed = Random.Shared.Next();
        TestContext.Current.TestOutputHelper?.WriteLine($"Seed {seed}");
        var breaker = new CircuitBreaker(
            new BreakerSettings(true, TimeSpan.Zero, TimeSpan.FromTicks(1), TimeSpan.FromTicks(10), null), new PoolClock(TimeProvider.System));
        var probing = 0;

        await Task.WhenAll(Enumerable.Range(0, 4).Select(worker => Task.Run(() =>
        {
            var random = new Random(seed + worker);
            for (var i = 0; i < 20_000; i++)
            {
                var begun = TimeProvider.System.GetTimestamp();
                var mayOpen = breaker.OpensAllowed(healthy: 1) > 0;
                breaker.TryTrip();
                if (breaker.TryBeginProbe())
                {
                    Assert.Equal(1, Interlocked.Increment(ref probing));
                    Interlocked.Decrement(ref probing);
                    if (random.Next(3) == 0)
                    {
                        breaker.Answered();
                    }
                    else
                    {
                        breaker.Failed(TimeProvider.System.GetTimestamp());
                    }
                }
                else if (mayOpen)
                {
                    // It began while the circuit was closed, and fails whatever has become of that since.
                    breaker.Failed(begun);
                }
            }
        })));

        breaker.Answered();
        Assert.True(breaker.IsWell);
    }

    private CircuitBreaker Create(bool enabled)
        => new(new BreakerSettings(enabled, _tripAfter, _first, _longest, TripOnExhaustionAfter: null), new PoolClock(_time));

    private void Fail() => _breaker.Failed(_time.GetTimestamp());

    private void Trip()
    {
        Fail();
        _time.Advance(_tripAfter);
        Assert.True(_breaker.TryTrip());
    }
}

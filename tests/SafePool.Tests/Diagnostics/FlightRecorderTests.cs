using System.Globalization;
using System.Text.RegularExpressions;
using SafePool.Leases;
using SafePool.Reports;
using SafePool.Telemetry;
using SafePool.TestKit;
using SafePool.Tests.Leaks;
using SafePool.Time;
using Xunit;

namespace SafePool.Tests.Diagnostics;

public sealed class FlightRecorderTests(ITestOutputHelper output)
{
    private const int Capacity = 512;

    private readonly ManualTimeProvider _time = new();

    [Fact]
    public void Events_FewerThanItHolds_AreAllThereInTheirOrder()
    {
        var recorder = Create();

        for (var i = 1; i <= 100; i++)
        {
            recorder.Record(FlightEventKind.Overdue, place: i, leaseId: i * 10, new RentSite("M", "F.cs", i));
            _time.Advance(TimeSpan.FromMilliseconds(i % 3));
        }

        var events = recorder.Events();
        Assert.Equal(Enumerable.Range(1, 100), events.Select(happened => happened.Place));
        Assert.All(events, happened => Assert.Equal((happened.Place * 10L, happened.Place), (happened.LeaseId, happened.Site.Line)));
    }

    /// <summary>The seam of the ring must not show, though the clock stood still.</summary>
    [Theory]
    [InlineData(513)]
    [InlineData(700)]
    [InlineData(5 * 512)]
    [InlineData(10_000)]
    public void Events_MoreThanItHolds_AreTheLastInTheirOrder(int recorded)
    {
        var recorder = Create();

        for (var i = 1; i <= recorded; i++)
        {
            recorder.Record(FlightEventKind.Wait, leaseId: i);
        }

        Assert.Equal(Enumerable.Range(recorded - Capacity + 1, Capacity).Select(i => (long)i), recorder.Events().Select(happened => happened.LeaseId));
    }

    [Fact]
    public void Record_ManyTimes_AllocatesNothing()
    {
        var recorder = Create();
        var site = new RentSite("M", "F.cs", 1);
        recorder.Record(FlightEventKind.Wait, 1, 2, site);

        // A collection in between may charge this thread with what it never used: one round of several is free of that.
        var leastAllocated = Enumerable.Range(0, 5).Min(_ =>
        {
            var before = GC.GetAllocatedBytesForCurrentThread();
            for (var i = 0; i < 20_000; i++)
            {
                recorder.Record(FlightEventKind.Overdue, 1, i, site);
            }

            return GC.GetAllocatedBytesForCurrentThread() - before;
        });

        Assert.Equal(0, leastAllocated);
    }

    [Fact]
    public async Task Record_FromSeveralThreadsWhileOneReads_ShowsOnlyEventsThatWereWritten()
    {
        var seed = Random.Shared.Next();
        output.WriteLine($"Seed {seed}");
        var recorder = Create();
        var kinds = Enum.GetValues<FlightEventKind>();
        using var done = new CancellationTokenSource();
        var writers = Enumerable.Range(1, 16).Select(writer => Task.Run(() =>
        {
            var random = new Random(seed + writer);
            for (var i = 0; i < 60_000; i++)
            {
                // Every part of an event follows from its lease.
                var lease = random.Next(1, int.MaxValue);
                recorder.Record(kinds[lease % kinds.Length], lease % 1000, lease, SiteOf(lease));
            }
        })).ToArray();
        var reader = Task.Run(() =>
        {
            var read = 0;
            while (!done.IsCancellationRequested)
            {
                foreach (var happened in recorder.Events())
                {
                    var lease = happened.LeaseId;
                    Assert.Equal((kinds[lease % kinds.Length], (int)(lease % 1000), SiteOf((int)lease)), (happened.Kind, happened.Place, happened.Site));
                    read++;
                }
            }

            return read;
        });

        await Task.WhenAll(writers);
        await done.CancelAsync();

        output.WriteLine($"{await reader} events were read while others wrote.");
        Assert.Equal(Capacity, recorder.Events().Count);
    }

    [Fact]
    public async Task Dump_AfterAStory_TellsItLineByLine()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(1, options => (options.MaxSize, options.AcquireTimeout) = (1, TimeSpan.FromSeconds(35)));
        await using var disposal = scripted;
        var waiting = scripted.BeginRent();
        scripted.Clock.Advance(TimeSpan.FromSeconds(31));
        leases[0].Dispose();
        var next = await waiting;
        scripted.Clock.Advance(TimeSpan.FromSeconds(2));
        next.Dispose();
        scripted.Pool.Clear();

        // Those are started while the clock moves, to find leases that were dropped. And an open that is started just before the wait is noted may be faster.
        var lines = Lines(scripted).Where(line => line.Kind != "collection induced").OrderBy(line => line.Kind != "wait").ToArray();

        string[] story =
        [
            "33.000 s ago: wait",
            "33.000 s ago: open began, place 0",
            "33.000 s ago: opened, place 0",
            $"33.000 s ago: rent, place 0, lease {leases[0].Id}",
            $"3.000 s ago: overdue, place 0, lease {leases[0].Id}",
            $"2.000 s ago: returned after all, place 0, lease {leases[0].Id}",
            $"2.000 s ago: return, place 0, lease {leases[0].Id}",
            $"2.000 s ago: rent, place 0, lease {next.Id}",
            "0.000 s ago: cleared",
            $"0.000 s ago: return, place 0, lease {next.Id}",
        ];
        Assert.Equal(
            string.Join(Environment.NewLine, story),
            string.Join(Environment.NewLine, lines.Select(line => $"{line.Ago} s ago: {line.Kind}{(line.Place < 0 ? "" : $", place {line.Place}")}{(line.LeaseId == 0 ? "" : $", lease {line.LeaseId}")}")));
        Assert.All(lines.Where(line => line.Kind is "rent" or "return"), line => Assert.Matches(@"^ScriptedPool\.cs:\d+ \(\w+\)$", line.Site));
    }

    /// <summary>One place remembers its last eight leases, whatever happens on the others.</summary>
    [Fact]
    public async Task Dump_OfAPlaceWithManyLeases_HasTheLastEightInTheirOrderAndTheOneThatNeverCameBack()
    {
        await using var scripted = ScriptedPool.Create(options => options.MaxSize = 2);
        using var kept = await scripted.RentAtAsync(1);
        for (var line = 2; line <= 60; line++)
        {
            (await scripted.RentAtAsync(line)).Dispose();
        }

        var story = Lines(scripted).Where(line => line.Kind is "rent" or "return").ToArray();

        Assert.Contains(story, line => line.Site == "OrderStore.cs:1 (LoadAsync)");
        var others = story.Where(line => line.LeaseId != kept.Id).Select(line => (line.Kind, int.Parse(Regex.Match(line.Site, @":(\d+)").Groups[1].Value, CultureInfo.InvariantCulture)));
        Assert.Equal(Enumerable.Range(54, 7).SelectMany(line => new[] { ("rent", line), ("return", line) }), others);
    }

    /// <summary>In a pool that is always full they alone would fill the recorder.</summary>
    [Fact]
    public async Task Dump_ManyWait_NotesItOnceATick()
    {
        var (scripted, _) = await ScriptedPool.CreateFullAsync(1, options => options.AcquireTimeout = TimeSpan.FromMinutes(1));
        await using var disposal = scripted;
        for (var tick = 0; tick < 3; tick++)
        {
            scripted.Tick();
            var waiting = Enumerable.Range(0, 20).Select(_ => scripted.BeginRent()).ToArray();
            Assert.All(waiting, rent => Assert.False(rent.IsCompleted));
        }

        // One for the rent that had to open as well.
        Assert.Equal(1 + 3, scripted.Pool.DumpFlightRecorder().Split("wait ").Length - 1 + Repeated(scripted));

        static int Repeated(ScriptedPool scripted)
            => Regex.Matches(scripted.Pool.DumpFlightRecorder(), @"wait +\((\d+) times\)").Sum(match => int.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture) - 1);
    }

    [Fact]
    public async Task Dump_TheSameHappensAgainAndAgain_SaysItOnceAndHowOften()
    {
        var (scripted, _) = await ScriptedPool.CreateFullAsync(1);
        await using var disposal = scripted;

        for (var i = 0; i < 20; i++)
        {
            await Assert.ThrowsAsync<PoolExhaustedException>(() => scripted.BeginRent(TimeSpan.Zero));
        }

        Assert.Matches(@"timed out +ScriptedPool\.cs:\d+ \(BeginRent\) \(20 times\)", scripted.Pool.DumpFlightRecorder());
    }

    [Fact]
    public void Dump_OfAPoolThatDidNothing_IsEmpty()
    {
        using var pool = new ConnectionPool(new ConnectionPoolOptions { ConnectionString = "Host=db;Database=orders" }, timeProvider: _time);

        Assert.Equal("", pool.DumpFlightRecorder());
    }

    private static RentSite SiteOf(int lease) => new(Word(lease), Word(lease + 1), lease);

    private static string Word(int number) => string.Intern((number % 7).ToString(CultureInfo.InvariantCulture));

    private static (string Ago, string Kind, int Place, long LeaseId, string Site)[] Lines(ScriptedPool scripted)
        => [.. scripted.Pool.DumpFlightRecorder().Split(Environment.NewLine, StringSplitOptions.RemoveEmptyEntries).Select(line =>
        {
            var match = Regex.Match(line, @"^ +-?(?<ago>[\d.]+) s  (?<kind>[a-z ]+?) *(?: place (?<place>\d+))?(?: lease (?<lease>\d+))?(?: (?<site>\S+:\d+ .*?))?(?: \(\d+ times\))?$");
            Assert.True(match.Success, $"unreadable: '{line}'");
            return (
                match.Groups["ago"].Value,
                match.Groups["kind"].Value,
                match.Groups["place"].Success ? int.Parse(match.Groups["place"].Value, CultureInfo.InvariantCulture) : -1,
                match.Groups["lease"].Success ? long.Parse(match.Groups["lease"].Value, CultureInfo.InvariantCulture) : 0L,
                match.Groups["site"].Value);
        })];

    // Without any place, so that only what is recorded is there.
    private FlightRecorder Create()
    {
        var clock = new PoolClock(_time);
        var settings = Options.OptionsKit.Settle().Leaks;
        return new FlightRecorder(new LeaseLedger(null!, 0, clock, new LeaseWatch(settings, clock, new PoolTelemetry(null!))), clock);
    }
}

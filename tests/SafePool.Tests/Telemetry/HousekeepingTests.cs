using System.Collections.Concurrent;
using System.Diagnostics;
using System.Diagnostics.Metrics;
using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;
using Npgsql;
using SafePool.Tests.Integration;
using SafePool.Tests.Operations;
using SafePool.Tests.Outages;
using Xunit;

namespace SafePool.Tests.Telemetry;

/// <summary>What the pool does on its own account is in nobody's traces, and its data sources have names.</summary>
[Collection("Telemetry")]
public sealed partial class HousekeepingTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(SessionReset.Full)]
    [InlineData(SessionReset.Strict)]
    [InlineData(SessionReset.Rollback)]
    public async Task Requests_NpgsqlIsTraced_HaveOneSpanEachAndThePoolHasNone(SessionReset reset)
    {
        var name = $"traced {reset}";
        using var spans = new DriverSpans(name);
        await using var server = await PoolOnServer.CreateAsync(options =>
        {
            (options.Name, options.Reset, options.StatementTimeout) = (name, reset, TimeSpan.FromSeconds(20));
            options.Timeouts = TimeoutStrategy.PerLease;
        });

        for (var request = 0; request < 10; request++)
        {
            await server.UseAsync(Cancellation);
        }

        Assert.Equal(Enumerable.Repeat("SELECT 1", 10), spans.Queries);
    }

    /// <summary>A command cancelled by the return, a session ended, a pool cleared, a report, a shrunk pool: all that makes the pool talk.</summary>
    [Fact]
    public async Task Housekeeping_OfEveryKind_HasNoSpan()
    {
        using var spans = new DriverSpans("housekeeping");
        await using var server = await PoolOnServer.CreateAsync(options => (options.Name, options.ProbeAfterIdle) = ("housekeeping", TimeSpan.FromSeconds(1)));
        await server.Pool.FillAsync(4, Cancellation);
        await server.WatchingAsync();

        await server.Pool.GetServerReportAsync(Cancellation);
        await server.Pool.WarmUpAsync(Cancellation);
        Task sleeping;
        await using (var busy = await server.Pool.RentAsync(Cancellation))
        {
            sleeping = busy.DoAsync("SELECT pg_sleep(30)");
        }

        await Assert.ThrowsAnyAsync<Exception>(() => sleeping);
        server.Pool.Reconfigure(options => options.MaxSize = 1);
        await server.SessionsBecomeAsync(1);
        server.Pool.Clear();
        await server.Pool.FillAsync(1, Cancellation);

        Assert.Equal(["SELECT pg_sleep(30)"], spans.Queries);
    }

    /// <summary>There is no room for the control connection, so the pool asks over one of its own, under the eyes of the user's listener.</summary>
    [Fact]
    public async Task ReportAndTermination_OverAnIdleConnection_HaveNoSpan()
    {
        var shared = await Outside.SharedServerAsync();
        await using var own = await OwnRole.CreateAsync(shared);
        await using var strangers = new Strangers(shared);
        var victim = Strangers.Name("victim");
        await strangers.IdleAsync(victim, own.Use);
        await using var server = await PoolOnServer.CreateAsync(options => (options.Name, options.MinSize, options.WatchServer) = ("reporting", 1, false), own.Use);
        await server.Pool.WarmUpAsync(Cancellation);
        await own.LimitAsync("ROLE", 1);
        using var spans = new DriverSpans("reporting");

        var report = await server.Pool.GetServerReportAsync(Cancellation);
        var termination = await server.Pool.TerminateIdleSessionsAsync(TimeSpan.Zero, victim, dryRun: false, cancellationToken: Cancellation);

        Assert.DoesNotContain(report.Sessions, session => session.Owner == SessionOwner.ControlConnection);
        Assert.Equal(1, termination.Terminated);
        Assert.Empty(spans.Queries);
    }

    /// <summary>A command without the mark has a span wherever it goes over a connection of the pool, and a batch cannot be marked.</summary>
    [Fact]
    public void CommandsOfThePool_AreAllMarked()
    {
        string[] users = ["Lease.cs", "Housekeeping.cs"];
        var unmarked = Directory.EnumerateFiles(Sources(), "*.cs", SearchOption.AllDirectories)
            .Where(file => !file.Contains($"{Path.DirectorySeparatorChar}obj{Path.DirectorySeparatorChar}", StringComparison.Ordinal) && !users.Contains(Path.GetFileName(file)))
            .SelectMany(file => File.ReadLines(file)
                .Where(line => !line.TrimStart().StartsWith("//", StringComparison.Ordinal) && UnmarkedCommand().IsMatch(line))
                .Select(line => $"{Path.GetFileName(file)}: {line.Trim()}"));

        Assert.Empty(unmarked);
    }

    [Fact]
    public async Task Filter_OfAUser_StillWorksAndCanAskWhatIsOurs()
    {
        using var spans = new DriverSpans("filtered");
        await using var server = await PoolOnServer.CreateAsync(options =>
        {
            options.Name = "filtered";
            options.ConfigureDataSource = builder => builder.ConfigureTracing(tracing => tracing
                .ConfigureCommandFilter(command => !SafePoolTelemetry.IsHousekeeping(command) && !command.CommandText.Contains("secret", StringComparison.Ordinal))
                .ConfigureCommandEnrichmentCallback((span, _) => span.SetTag("mine", true)));
        });

        await server.UseAsync(Cancellation);
        await using (var lease = await server.Pool.RentAsync(Cancellation))
        {
            await lease.DoAsync("SELECT 'secret'");
        }

        Assert.Equal(["SELECT 1"], spans.Queries);
        Assert.Equal(true, Assert.Single(spans.Seen).GetTagItem("mine"));
    }

    [Fact]
    public async Task MeterOfNpgsql_OfAPool_HasItsNameAndItsLimit()
    {
        await using var server = await PoolOnServer.CreateAsync(options => (options.Name, options.MaxSize) = ("metered", 7));
        await using var twin = await PoolOnServer.CreateAsync(options => (options.Name, options.MaxSize) = ("metered", 9));
        await server.UseAsync(Cancellation);
        await twin.UseAsync(Cancellation);
        await server.WatchingAsync();

        var limits = DriverLimits();

        Assert.Equal(7 + 10, limits["metered"]);
        Assert.Equal(9 + 10, limits["metered-2"]);
        Assert.DoesNotContain(limits.Keys, name => name.Contains(server.ApplicationName, StringComparison.Ordinal));
    }

    /// <summary>Each host has a data source of its own, and so a limit.</summary>
    [Fact]
    public async Task MeterOfNpgsql_OfAPoolWithSeveralHosts_HasANameForEach()
    {
        await using var pool = ConnectionPool.Create("Host=first,second:6000;Database=spread", options => (options.Name, options.MaxSize) = ("spread", 7));
        await using var twin = ConnectionPool.Create("Host=first,second:6000;Database=spread", options => (options.Name, options.MaxSize) = ("spread", 9));

        var limits = DriverLimits().Where(limit => limit.Key.StartsWith("spread", StringComparison.Ordinal)).OrderBy(limit => limit.Key, StringComparer.Ordinal);

        Assert.Equal(["spread first:5432 17", "spread second:6000 17", "spread-2 first:5432 19", "spread-2 second:6000 19"], limits.Select(limit => $"{limit.Key} {limit.Value}"));
        Assert.Equal("spread", pool.Name);
    }

    [Fact]
    public async Task Reconfigure_BeyondWhatNpgsqlHasRoomFor_MakesRoom()
    {
        await using var server = await PoolOnServer.CreateAsync(options => (options.Name, options.MaxSize, options.WatchServer) = ("grown", 2, false));
        await server.Pool.FillAsync(2, Cancellation);
        var sessions = await server.SessionsAsync();

        server.Pool.Reconfigure(options => options.MaxSize = 8);
        await server.Pool.FillAsync(8, Cancellation);
        Assert.Subset((await server.SessionsAsync()).ToHashSet(), sessions.ToHashSet());

        server.Pool.Reconfigure(options => options.MaxSize = 30);
        await server.Pool.FillAsync(30, Cancellation);

        await server.SessionsBecomeAsync(30);
        Assert.Equal(40, DriverLimits()["grown"]);
    }

    private static string Sources([CallerFilePath] string here = "") => Path.Combine(Path.GetDirectoryName(here)!, "..", "..", "..", "src", "SafePool");

    [GeneratedRegex(@"new Npgsql(Command|Batch|BatchCommand)\b|\.Create(Command|Batch)\(")]
    private static partial Regex UnmarkedCommand();

    private static Dictionary<string, int> DriverLimits()
    {
        var limits = new Dictionary<string, int>(StringComparer.Ordinal);
        using var listener = new MeterListener
        {
            InstrumentPublished = (instrument, listener) =>
            {
                if (instrument.Meter.Name == "Npgsql" && instrument.Name == "db.client.connection.max")
                {
                    listener.EnableMeasurementEvents(instrument);
                }
            },
        };
        listener.SetMeasurementEventCallback<int>((_, value, tags, _) => limits[(string)tags[0].Value!] = value);
        listener.Start();
        listener.RecordObservableInstruments();
        return limits;
    }

    private sealed class DriverSpans : IDisposable
    {
        private readonly ActivityListener _listener;

        public DriverSpans(string pool)
        {
            _listener = new ActivityListener
            {
                ShouldListenTo = source => source.Name == "Npgsql",
                Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllDataAndRecorded,
                ActivityStopped = span =>
                {
                    if (span.GetTagItem("db.npgsql.data_source") is string source && source.StartsWith(pool, StringComparison.Ordinal))
                    {
                        Seen.Enqueue(span);
                    }
                },
            };
            ActivitySource.AddActivityListener(_listener);
        }

        public ConcurrentQueue<Activity> Seen { get; } = [];

        public IEnumerable<string> Queries => Seen.Select(span => span.GetTagItem("db.query.text") as string ?? span.OperationName);

        public void Dispose() => _listener.Dispose();
    }
}

using System.Diagnostics;
using System.Diagnostics.Metrics;
using System.Runtime.ExceptionServices;
using Npgsql;
using SafePool.DriverContract.Kit;
using Xunit;

namespace SafePool.DriverContract;

/// <summary>What Npgsql tells of itself: meters, spans, strings.</summary>
public sealed class TellingTests
{
    private const string Purpose = "on the purpose of telling";
    private const string Failed = "db.client.operation.failed";
    private const string PoolName = "db.client.connection.pool.name";

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    /// <summary>
    /// The pool hears of a failed command by this counter: on the thread that throws, right before it throws. Otherwise it could not tell which connection has failed, and how.
    /// </summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task FailedCommand_IsCountedOnItsThreadRightBeforeTheExceptionIsThrown(bool blocking)
    {
        var name = NewName();
        await using var driver = await RawDriver.StartAsync(build: builder => builder.Name = name);
        await using var connection = await driver.OpenAsync();
        var heard = new List<(string What, int Thread)>();
        using var listener = Listen(name, Failed, () => Note("counted"));
        AppDomain.CurrentDomain.FirstChanceException += OnThrown;
        try
        {
            await Assert.ThrowsAsync<PostgresException>(() => FailAsync(connection, blocking));
        }
        finally
        {
            AppDomain.CurrentDomain.FirstChanceException -= OnThrown;
        }

        Assert.Equal(["counted", "thrown"], heard.Take(2).Select(entry => entry.What));
        Assert.Equal(heard[0].Thread, heard[1].Thread);

        void OnThrown(object? sender, FirstChanceExceptionEventArgs thrown)
        {
            // Of the whole process: other tests fail commands of theirs.
            if (thrown.Exception is PostgresException { MessageText: Purpose })
            {
                Note("thrown");
            }
        }

        void Note(string what)
        {
            lock (heard)
            {
                heard.Add((what, Environment.CurrentManagedThreadId));
            }
        }
    }

    /// <summary>The gap of that counter: a command that breaks its connection is not counted. There the pool has <c>StateChange</c> and the broken state instead.</summary>
    [Fact]
    public async Task FailedCommand_ThatBreaksItsConnection_IsNotCounted()
    {
        var name = NewName();
        await using var driver = await RawDriver.StartAsync(build: builder => builder.Name = name);
        await using var connection = await driver.OpenAsync();
        var counted = 0;
        using var listener = Listen(name, Failed, () => Interlocked.Increment(ref counted));

        await Assert.ThrowsAsync<PostgresException>(() => connection.FailAsync("XX000"));

        Assert.Equal(0, counted);
    }

    /// <summary>Npgsql's meter tells connections apart by the name of their data source, which is what the pool's own are called. Otherwise housekeeping could not be told from work.</summary>
    [Fact]
    public async Task Meter_NamesTheDataSource()
    {
        var name = NewName();
        await using var driver = await RawDriver.StartAsync(build: builder => builder.Name = name);
        await using var used = await driver.OpenAsync();
        await driver.FillAsync(2);
        var seen = new Dictionary<string, int>(StringComparer.Ordinal);
        using var listener = new MeterListener { InstrumentPublished = Enable };
        listener.SetMeasurementEventCallback<int>((instrument, value, tags, _) => Note(instrument, value, tags));
        listener.Start();

        listener.RecordObservableInstruments();

        Assert.Equal((2, 1), (seen["idle"], seen["used"]));

        void Enable(Instrument instrument, MeterListener self)
        {
            if (instrument is { Meter.Name: "Npgsql", Name: "db.client.connection.count" })
            {
                self.EnableMeasurementEvents(instrument);
            }
        }

        void Note(Instrument instrument, int value, ReadOnlySpan<KeyValuePair<string, object?>> tags)
        {
            if (Tag(tags, PoolName) == name)
            {
                seen[Tag(tags, "db.client.connection.state")!] = value;
            }
        }
    }

    /// <summary>Housekeeping has no spans of its own, by this filter. Otherwise every probe and reset would be a root span of the user's traces.</summary>
    [Fact]
    public async Task CommandFilter_ThatRefuses_LeavesNoSpan()
    {
        var spans = new List<string>();
        using var listener = new ActivityListener
        {
            ShouldListenTo = source => source.Name == "Npgsql",
            Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllDataAndRecorded,
            ActivityStopped = Note,
        };
        ActivitySource.AddActivityListener(listener);
        await using var driver = await RawDriver.StartAsync(
            build: builder => builder.ConfigureTracing(tracing => tracing.ConfigureCommandFilter(command => !command.CommandText.Contains("quiet", StringComparison.Ordinal))));
        await using var connection = await driver.OpenAsync();
        var mark = NewName();

        await connection.DoAsync($"SELECT 'quiet {mark}'");
        await connection.DoAsync($"SELECT 'loud {mark}'");

        lock (spans)
        {
            Assert.Equal([$"SELECT 'loud {mark}'"], spans.Where(span => span.Contains(mark, StringComparison.Ordinal)));
        }

        void Note(Activity activity)
        {
            lock (spans)
            {
                spans.Add((string?)activity.GetTagItem("db.query.text") ?? "");
            }
        }
    }

    /// <summary><c>ConnectionStringReader</c> asks for keywords that not every version has: one that is unknown is absent, not an exception.</summary>
    [Fact]
    public void ConnectionStringBuilder_KeywordThatItDoesNotKnow_IsAbsent()
    {
        var builder = new NpgsqlConnectionStringBuilder("Host=nowhere");

        Assert.False(builder.TryGetValue("No Such Keyword", out _));
        Assert.ThrowsAny<ArgumentException>(() => new NpgsqlConnectionStringBuilder("Host=nowhere;No Such Keyword=true"));
    }

    /// <summary><c>ConnectionStringReader.Says</c>: what the string says is told from what is default. Otherwise an option and a default would contradict each other.</summary>
    [Fact]
    public void ConnectionStringBuilder_TellsWhatWasSaidFromWhatIsDefault()
    {
        var builder = new NpgsqlConnectionStringBuilder("Host=nowhere;MaxPoolSize=100");

        Assert.True(builder.ShouldSerialize("Maximum Pool Size"));
        Assert.False(builder.ShouldSerialize("Minimum Pool Size"));
        Assert.False(builder.ShouldSerialize("Timeout"));
        builder.Remove("Maximum Pool Size");
        Assert.Equal("Host=nowhere", builder.ConnectionString);
    }

    private static string NewName() => Guid.NewGuid().ToString("N");

    private static async Task FailAsync(NpgsqlConnection connection, bool blocking)
    {
        const string Failing = $"DO $$ BEGIN RAISE EXCEPTION '{Purpose}' USING ERRCODE = '40001'; END $$";
        await using var command = new NpgsqlCommand(Failing, connection);
        if (blocking)
        {
            command.ExecuteNonQuery();
        }
        else
        {
            await command.ExecuteNonQueryAsync(Cancellation);
        }
    }

    private static MeterListener Listen(string name, string instrument, Action heard)
    {
        var listener = new MeterListener();
        listener.InstrumentPublished = (published, self) =>
        {
            if (published.Meter.Name == "Npgsql" && published.Name == instrument)
            {
                self.EnableMeasurementEvents(published);
            }
        };
        listener.SetMeasurementEventCallback<int>((_, _, tags, _) =>
        {
            if (Tag(tags, PoolName) == name)
            {
                heard();
            }
        });
        listener.Start();
        return listener;
    }

    private static string? Tag(ReadOnlySpan<KeyValuePair<string, object?>> tags, string key)
    {
        foreach (var tag in tags)
        {
            if (tag.Key == key)
            {
                return tag.Value as string;
            }
        }

        return null;
    }
}

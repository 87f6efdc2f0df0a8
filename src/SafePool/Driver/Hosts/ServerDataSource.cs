using Npgsql;
using SafePool.Driver.Poolers;
using SafePool.Options;

namespace SafePool.Driver.Hosts;

/// <summary>One host of the pool: the <see cref="NpgsqlDataSource"/> that leads there and nowhere else, and what is known of it.</summary>
/// <remarks>
/// <para>
/// Thread-safety: every member may be called from any thread. Who replaces the data source, and when, is the business of <see cref="ServerHosts"/>.
/// </para>
/// <para>One that was replaced is disposed: Npgsql closes what rests in it at once, and what is still in use when that is closed.</para>
/// </remarks>
internal sealed class ServerDataSource : IDisposable
{
    private volatile DriverPool _driver;
    private volatile string _text;
    private long _lostAt = long.MinValue;
    private int _atRest;
    private int _opening;

    public ServerDataSource(PoolSettings settings, int index, DriverPool first, string text, TimeProvider clock)
    {
        Index = index;
        Name = settings.Hosts[index];
        Standing = new HostStanding(settings.HostRecheck, clock);
        Knock = new Knock(settings, this, clock);
        Surveys = new SurveyRecord(clock);
        (_driver, _text) = (first, text);
        Address = AddressOf(first.Source.CreateConnection());
    }

    /// <summary>Its rank in the connection string.</summary>
    public int Index { get; }

    public HostName Name { get; }

    /// <summary>As every connection object of its data source calls it, open or not.</summary>
    public string Address { get; }

    public HostStanding Standing { get; }

    public Knock Knock { get; }

    public SurveyRecord Surveys { get; }

    public NpgsqlDataSource Current => _driver.Source;

    /// <summary>The same, with what it counts.</summary>
    public DriverPool Driver => _driver;

    /// <summary>The connection string of <see cref="Current"/>, but that it never enlists. Holds the password.</summary>
    public string Text => _text;

    /// <summary>Whether its newest connection had no pooler in between; null before the first.</summary>
    public bool? WasDirect { get; set; }

    /// <summary>About how many connections lie at rest there: a guess, which spares takes that would find nothing. Zero may be wrong.</summary>
    public int AtRest => Volatile.Read(ref _atRest);

    /// <summary>How many opens are trying it now.</summary>
    public int Opening => Volatile.Read(ref _opening);

    public static NpgsqlDataSource Build(PoolSettings settings, string connectionString, DataSourceUse use) => Housekeeping.Build(settings, connectionString, use);

    public static string AddressOf(NpgsqlConnection connection) => connection.DataSource;

    /// <summary>Goes on with another data source; returns the old one, for disposal.</summary>
    public DriverPool Replace(DriverPool fresh, string text)
    {
        var obsolete = _driver;
        (_text, _driver) = (text, fresh);
        Volatile.Write(ref _atRest, 0);
        return obsolete;
    }

    /// <summary>Ends all that rests there, and what is in use when it is closed.</summary>
    public void Clear()
    {
        Current.Clear();
        Volatile.Write(ref _atRest, 0);
    }

    public void NoteRested() => Interlocked.Increment(ref _atRest);

    public void NoteTaken()
    {
        if (Interlocked.Decrement(ref _atRest) < 0)
        {
            // One that nobody had counted.
            Interlocked.Increment(ref _atRest);
        }
    }

    public void NoteEmpty() => Volatile.Write(ref _atRest, 0);

    public void NoteOpening(int change) => Interlocked.Add(ref _opening, change);

    /// <summary>Takes a loss to heart, unless it is one that was known: the connection was taken before the last one. One caller for each loss.</summary>
    public bool TryNoteLoss(long takenAt, long now)
    {
        var seen = Volatile.Read(ref _lostAt);
        return takenAt >= seen && Interlocked.CompareExchange(ref _lostAt, now, seen) == seen;
    }

    public void Dispose() => Knock.Dispose();
}

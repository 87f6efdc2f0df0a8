using System.Globalization;
using Npgsql;
using SafePool.ChaosTests.Invariants;

namespace SafePool.ChaosTests.Load;

/// <summary>Rents, uses and returns, over and over, each time in another way.</summary>
internal abstract class Worker(Round round, string name, int seed)
{
    // Of design decision D4: what a return may wait for before it leaves the rest to the background.
    private static readonly TimeSpan _returnPatience = TimeSpan.FromSeconds(2);

    private string _doing = "begins";
    private long _since;

    public string Name { get; } = name;

    /// <summary>Gets a task that ends, and never fails, when the round is over.</summary>
    public Task Completion { get; private set; } = Task.CompletedTask;

    /// <summary>Gets whether it stands at the closed gate, with nothing in its hands.</summary>
    public bool IsAtGate { get; protected set; }

    protected Round Round { get; } = round;

    protected Random Random { get; } = new(seed);

    public void Start() => Completion = RunAsync();

    public override string ToString()
        => string.Create(CultureInfo.InvariantCulture, $"{Name}: {_doing}, for {TimeProvider.System.GetElapsedTime(_since).TotalMilliseconds:0} ms");

    protected abstract Task RunAsync();

    protected long Begin(string what)
    {
        _doing = what;
        return _since = TimeProvider.System.GetTimestamp();
    }

    /// <summary>From one millisecond to seconds, now and then none at all, now and then the pool's own.</summary>
    protected RentOptions? DrawOptions() => Random.Next(20) switch
    {
        0 => null,
        1 => new RentOptions { AcquireTimeout = TimeSpan.Zero },
        2 => new RentOptions { AcquireTimeout = Random.Milliseconds(100, 3000), StatementTimeout = TimeSpan.FromSeconds(1) },
        _ => new RentOptions { AcquireTimeout = Random.Milliseconds(1, 3000) },
    };

    protected TimeSpan BudgetOf(RentOptions? options) => options?.AcquireTimeout ?? Round.AcquireTimeout;

    /// <summary>Whether the rent has something to set on the session first, on the thread of its caller.</summary>
    protected bool HasWords(RentOptions? options) => options?.StatementTimeout is not null || Round.SetsPerLease;

    protected void Rented(string how, long from, TimeSpan budget, bool hasWords)
    {
        Round.Journal.Count($"rent {how}: lease");
        Round.Journal.Took($"{Name}: rent {how} that brought a lease", from, Granted(budget, hasWords));
    }

    protected void Refused(string how, long from, TimeSpan budget, bool hasWords, Exception error, CancellationToken own)
    {
        Round.Journal.Count($"rent {how}: {Describe(error)}");
        Round.Journal.Took($"{Name}: rent {how} that failed with {Describe(error)}", from, Granted(budget, hasWords));
        if (RentFailures.FaultOf(error, Round.IsClosed, Round.TellsErrorsOfOpens, own) is { } fault)
        {
            Round.Journal.Violate($"{Name}: rent {how} failed with {fault}: {error}");
        }
    }

    protected void Failed(Session session, Exception error)
    {
        Round.Journal.Count($"work: {Describe(error)}");
        if (!LeaseFailures.IsAcceptable(error, session.Connection))
        {
            Round.Journal.Violate($"{Name}: work on a lease failed with {error}");
        }
    }

    protected void Returned(Session session, long from)
    {
        // What closes a drop-in is Npgsql itself, which nobody bounds.
        if (session.Lease is not null)
        {
            Round.Journal.Took($"{Name}: return", from, _returnPatience);
        }
    }

    protected void NotReturned(Session session, Exception error)
    {
        Round.Journal.Count($"return: {Describe(error)}");
        if (session.Lease is not null || !LeaseFailures.IsAcceptable(error, session.Connection))
        {
            Round.Journal.Violate($"{Name}: a return failed with {error}");
        }
    }

    /// <summary>Whoever has no patience at all waits for the sign of life of what was idle, as long as a return would.</summary>
    private TimeSpan Granted(TimeSpan budget, bool hasWords)
        => (budget == TimeSpan.Zero ? _returnPatience : budget) + (hasWords ? Round.Journal.GrantedToWords : TimeSpan.Zero);

    private static string Describe(Exception error) => error switch
    {
        PostgresException postgres => $"{nameof(PostgresException)} {postgres.SqlState}",
        { InnerException: { } inner } => $"{error.GetType().Name} <- {inner.GetType().Name}",
        _ => error.GetType().Name,
    };
}

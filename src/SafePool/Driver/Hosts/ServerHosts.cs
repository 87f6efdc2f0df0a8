using Microsoft.Extensions.Logging;
using Npgsql;
using SafePool.Driver.Poolers;
using SafePool.Logging;
using SafePool.Options;

namespace SafePool.Driver.Hosts;

/// <summary>The hosts of a pool, each with a data source of its own, and the connection string that they share but for the host.</summary>
/// <remarks>
/// <para>
/// Thread-safety: every member may be called from any thread. Data sources are replaced while nothing rests in them that anybody may have, because the path is not known and an open keeps
/// its connection only when it finds its data source still current afterwards; or in <see cref="Clear"/>, when everything that rests is to end anyway, and in
/// <see cref="TryRenew"/>. What rests is closed before another one is in force, because an open under a place that is found empty would make one connection too many. Nobody waits for an open of one that was replaced:
/// it ends by itself or never, and what it brings is closed.
/// </para>
/// <para>The text follows from two findings: whether a pooler refuses start-up options, and whether it forbids the session reset.</para>
/// </remarks>
internal sealed class ServerHosts : IDisposable
{
    private readonly Lock _gate = new();
    private readonly PoolSettings _settings;
    private readonly ServerPath _path;
    private readonly ILogger _logger;
    private readonly ServerDataSource[] _all;
    private volatile bool _isEnlisting;
    private volatile bool _shallEnlist;
    private volatile int _size;
    private volatile int _shallHold;
    private bool _isBare;
    private bool _wasRefused;
    private bool _isDisposed;
    private int _turn = -1;
    private long _arrivals;

    public ServerHosts(PoolSettings settings, ServerPath path, TimeProvider clock, ILogger logger)
    {
        _settings = settings;
        _logger = logger;
        _path = path;
        _isEnlisting = _shallEnlist = settings.EnlistsAtOnce;
        _size = _shallHold = ConnectionStringReader.DriverPoolSize(settings.MaxSize);
        _all = [.. settings.Hosts.Select((name, index) =>
        {
            var text = TextFor(name, isBare: false, resets: true);
            return new ServerDataSource(settings, index, Build(text, _isEnlisting, _size), text, clock);
        })];
        Only = _all.Length == 1 ? _all[0] : null;
    }

    public IReadOnlyList<ServerDataSource> All => _all;

    /// <summary>The one host there is; null when there are several.</summary>
    public ServerDataSource? Only { get; }

    public bool IsSeveral => Only is null;

    public TargetSessionAttributes Target => _settings.Target;

    public bool IsBalanced => _settings.LoadBalancesHosts;

    /// <summary>Whether an open has a choice, or a condition.</summary>
    public bool Chooses => IsSeveral || Target != TargetSessionAttributes.Any;

    /// <summary>Whether what is opened within an ambient transaction is a part of it, or will be in a moment.</summary>
    /// <remarks>Not before there was a rent within one: Npgsql then looks for a transaction at every open, though the pool has done so.</remarks>
    public bool IsEnlisting => _shallEnlist;

    /// <summary>Where the newest connection was opened; null before the first.</summary>
    public ServerDataSource? Newest { get; set; }

    /// <summary>The host of a connection object, open or not; null when it is none of this pool's.</summary>
    public ServerDataSource? Of(NpgsqlConnection? connection)
    {
        if (connection is null)
        {
            return null;
        }

        var address = ServerDataSource.AddressOf(connection);
        foreach (var host in _all)
        {
            if (host.Address == address)
            {
                return host;
            }
        }

        return null;
    }

    /// <summary>Grows, where there are several hosts, after a connection has come to rest and before anybody can take another one instead.</summary>
    public long Arrivals => Volatile.Read(ref _arrivals);

    public void NoteArrival()
    {
        if (IsSeveral)
        {
            Interlocked.Increment(ref _arrivals);
        }
    }

    /// <summary>Where takes and round robins begin this time.</summary>
    public int NextTurn() => (int)((uint)Interlocked.Increment(ref _turn) % (uint)_all.Length);

    /// <summary>Enlists from the next <see cref="Clear"/> on. False when it does already.</summary>
    public bool TryBeginEnlisting() => !_shallEnlist && (_shallEnlist = true);

    /// <summary>Has room for a larger pool from the next <see cref="Clear"/> on. False when it has already.</summary>
    public bool TryBeginGrowing(int maxSize)
    {
        // Npgsql's limit is for good.
        lock (_gate)
        {
            if (maxSize + ConnectionStringReader.LeastHeadroom <= _shallHold)
            {
                return false;
            }

            _shallHold = ConnectionStringReader.DriverPoolSize(maxSize);
            return true;
        }
    }

    /// <summary>After a refusal of the start-up options: goes on without them while the path is unknown. True when it is worth another attempt.</summary>
    public bool TryDoWithoutOptions(ServerDataSource host, NpgsqlDataSource seen)
    {
        if (_settings.DataSourceString == _settings.BareDataSourceString)
        {
            return false;
        }

        if (_path.IsKnown && !Volatile.Read(ref _isBare) && host.Current == seen)
        {
            // They were taken until now: there is something else in between.
            _path.Doubt();
        }

        TryChange(isBare: true, resets: null, () => host.Current == seen && !_path.IsKnown && !_isBare, () => _wasRefused = true);

        // False for an attempt that was without them already.
        return seen != host.Current;
    }

    /// <summary>Settles the path, with the string that it needs. False when somebody has changed something since <paramref name="seen"/>.</summary>
    public bool TrySettle(ServerDataSource host, NpgsqlDataSource seen, PathKind kind, TimeoutWay way)
        => TryChange(isBare: null, kind != PathKind.TransactionPooler, () => host.Current == seen && !_path.IsKnown, () => _path.TrySettle(kind, way));

    /// <summary>Without a pooler the start-up options are worth another try, if it was one that had refused them. True when that must be found out first.</summary>
    public bool TryWithOptions(ServerDataSource host, NpgsqlDataSource seen)
        => TryChange(isBare: false, resets: true, () => host.Current == seen && !_path.IsKnown && _isBare && !_wasRefused);

    /// <summary>Ends all that rests, and what is in use when it is closed. The path is found out anew.</summary>
    /// <param name="renews">With data sources that know nothing of before: types, passwords, opens that hang. Calls the user.</param>
    public void Clear(bool renews)
    {
        ForgetPath();
        foreach (var host in _all)
        {
            host.Standing.Forget();
            host.Clear();
        }

        try
        {
            Change(renews);
        }
        catch (Exception error) when (renews)
        {
            Log.NotRenewed(_logger, _settings.Name, error);
            Change(renews: false);
        }
    }

    /// <summary>Goes on with another data source at one host when what is lost there is about to use up Npgsql's own limit. False when it is not, or somebody else did.</summary>
    /// <param name="host">The host.</param>
    /// <param name="maxSize">Of the pool.</param>
    /// <param name="retire">Called under the lock, right before: must be quick.</param>
    public bool TryRenew(ServerDataSource host, int maxSize, Action retire)
    {
        DriverPool seen, fresh;
        string text;
        bool enlists;
        lock (_gate)
        {
            (seen, text, enlists) = (host.Driver, host.Text, _isEnlisting);
        }

        if (!seen.IsWorn(maxSize))
        {
            return false;
        }

        // Outside of the lock: it calls the user.
        fresh = Build(text, enlists, Math.Max(seen.Size, ConnectionStringReader.DriverPoolSize(maxSize)));
        seen.Source.Clear();
        var isDone = false;
        lock (_gate)
        {
            if (!_isDisposed && host.Driver == seen)
            {
                retire();
                fresh = host.Replace(fresh, text);
                isDone = true;
            }
        }

        fresh.Source.Dispose();
        if (isDone)
        {
            host.Knock.Renew();
            Log.DriverPoolReplaced(_logger, _settings.Name, seen.Lost, host.Name.ToString());
        }

        return isDone;
    }

    /// <summary>The path is found out anew, by the next open.</summary>
    public void ForgetPath()
    {
        lock (_gate)
        {
            _path.Forget();
            _wasRefused = false;
        }
    }

    // Not asynchronously: Npgsql waits there for a password provider that it calls now and then, which is the user's.
    public void Dispose()
    {
        foreach (var host in Close())
        {
            host.Current.Dispose();
            host.Dispose();
        }
    }

    private void Change(bool renews)
    {
        while (!TryChange(isBare: null, resets: null, () => true, enlists: _shallEnlist, renews: renews) && !Volatile.Read(ref _isDisposed))
        {
            // Somebody else has changed them in that moment.
        }
    }

    private ServerDataSource[] Close()
    {
        lock (_gate)
        {
            _isDisposed = true;
            return _all;
        }
    }

    private string TextFor(HostName name, bool isBare, bool resets)
    {
        var text = isBare ? _settings.BareDataSourceString : _settings.DataSourceString;
        if (_settings.Hosts.Count == 1 && resets)
        {
            return text;
        }

        var builder = new NpgsqlConnectionStringBuilder(text);
        builder.NoResetOnClose |= !resets;
        if (_settings.Hosts.Count > 1)
        {
            (builder.Host, builder.Port) = (name.Name, name.Port);
        }

        return builder.ConnectionString;
    }

    private DriverPool Build(string text, bool enlists, int size)
    {
        // Equal bounds switch Npgsql's pruning off and open nothing.
        var builder = new NpgsqlConnectionStringBuilder(text) { MinPoolSize = size, MaxPoolSize = size, Enlist = enlists };
        return new DriverPool(ServerDataSource.Build(_settings, builder.ConnectionString, DataSourceUse.Pool), size);
    }

    /// <summary>Changes to other data sources, if they are other ones, and does something along with it, under a condition. True when that held.</summary>
    private bool TryChange(bool? isBare, bool? resets, Func<bool> isWanted, Action? commit = null, bool enlists = false, bool renews = false)
    {
        // Outside of the lock: it calls the user.
        var first = _all[0].Current;
        enlists |= _isEnlisting;
        var size = _shallHold;
        var bare = isBare ?? Volatile.Read(ref _isBare);
        var texts = Array.ConvertAll(_all, host => TextFor(host.Name, bare, resets ?? !_path.ForbidsReset));
        var isOther = renews || enlists != _isEnlisting || size != _size || texts[0] != _all[0].Text;
        DriverPool[] obsolete = isOther ? Array.ConvertAll(texts, text => Build(text, enlists, size)) : [];
        var isDone = false;
        lock (_gate)
        {
            if (!_isDisposed && _all[0].Current == first && isWanted())
            {
                for (var index = 0; index < obsolete.Length; index++)
                {
                    obsolete[index] = _all[index].Replace(obsolete[index], texts[index]);
                }

                (_isBare, _isEnlisting, _size) = (bare, enlists, size);

                // Last: whoever sees that the path is known sees its data source.
                commit?.Invoke();
                isDone = true;
            }
        }

        foreach (var driver in obsolete)
        {
            driver.Source.Dispose();
        }

        if (isDone && obsolete.Length > 0)
        {
            foreach (var host in _all)
            {
                host.Knock.Renew();
            }
        }

        return isDone;
    }
}

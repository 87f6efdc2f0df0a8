using Npgsql;
using SafePool.Options;

namespace SafePool.Connections;

/// <summary>The <see cref="NpgsqlDataSource"/> that the pool opens and takes from. There is one, but a pooler may make another one necessary.</summary>
/// <remarks>
/// <para>
/// Thread-safety: every member may be called from any thread. It is replaced while nothing rests in it, because the path is not known yet and an open keeps its connection only
/// when it finds its data source still <see cref="Current"/> afterwards; or in <see cref="Clear"/>, when everything that rests is to end anyway.
/// </para>
/// <para>One that was replaced is disposed: Npgsql closes what rests in it at once, and what is still in use when that is closed.</para>
/// </remarks>
internal sealed class ServerDataSource : IAsyncDisposable, IDisposable
{
    private readonly Lock _gate = new();
    private readonly PoolSettings _settings;
    private readonly ServerPath _path;
    private volatile NpgsqlDataSource _current;
    private volatile string _text;
    private volatile bool _isEnlisting;
    private volatile bool _shallEnlist;
    private volatile int _size;
    private volatile int _shallHold;
    private bool _isDisposed;

    public ServerDataSource(PoolSettings settings, ServerPath path)
    {
        _settings = settings;
        _path = path;
        _text = settings.DataSourceString;
        _isEnlisting = _shallEnlist = settings.EnlistsAtOnce;
        _size = _shallHold = ConnectionStringReader.DriverPoolSize(settings.MaxSize);
        _current = Build(settings, _text, _isEnlisting, _size);
    }

    public NpgsqlDataSource Current => _current;

    /// <summary>The connection string of <see cref="Current"/>, but that it never enlists. Holds the password.</summary>
    public string Text => _text;

    /// <summary>Whether <see cref="Current"/> opens what it opens within an ambient transaction as a part of it, or will in a moment.</summary>
    /// <remarks>Not before there was a rent within one: Npgsql then looks for a transaction at every open, though the pool has done so.</remarks>
    public bool IsEnlisting => _shallEnlist;

    public static NpgsqlDataSource Build(PoolSettings settings, string connectionString, DataSourceUse use) => Housekeeping.Build(settings, connectionString, use);

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

    /// <summary>Goes on with another string while the path is unknown. False when somebody has changed something since <paramref name="seen"/>.</summary>
    public bool TryReplace(NpgsqlDataSource seen, string text) => TryChange(text, () => _current == seen && !_path.IsKnown);

    /// <summary>Settles the path, with the string that it needs. False when somebody has changed something since <paramref name="seen"/>.</summary>
    public bool TrySettle(NpgsqlDataSource seen, PathKind kind, TimeoutWay way)
    {
        var text = kind == PathKind.TransactionPooler ? WithoutReset(_text) : _text;
        return TryChange(text, () => _current == seen && !_path.IsKnown, () => _path.TrySettle(kind, way));
    }

    /// <summary>Ends all that rests, and what is in use when it is closed.</summary>
    public void Clear()
    {
        var text = _path.ForbidsReset ? WithoutReset(_text) : _text;
        if (!IsOutdated(text) || !TryChange(text, () => IsOutdated(text), enlists: _shallEnlist))
        {
            _current.Clear();
        }
    }

    public void Dispose()
    {
        lock (_gate)
        {
            _isDisposed = true;
        }

        _current.Dispose();
    }

    public ValueTask DisposeAsync()
    {
        lock (_gate)
        {
            _isDisposed = true;
        }

        return _current.DisposeAsync();
    }

    private static NpgsqlDataSource Build(PoolSettings settings, string text, bool enlists, int size)
    {
        // Equal bounds switch Npgsql's pruning off and open nothing.
        var builder = new NpgsqlConnectionStringBuilder(text) { MinPoolSize = size, MaxPoolSize = size, Enlist = enlists };
        return Build(settings, builder.ConnectionString, DataSourceUse.Pool);
    }

    private bool IsOutdated(string text) => _text != text || _isEnlisting != _shallEnlist || _size != _shallHold;

    private static string WithoutReset(string text) => new NpgsqlConnectionStringBuilder(text) { NoResetOnClose = true }.ConnectionString;

    /// <summary>Changes to another string, if it is another one, and does something along with it, under a condition. True when that held.</summary>
    private bool TryChange(string text, Func<bool> isWanted, Action? commit = null, bool enlists = false)
    {
        // Outside of the lock: it calls the user.
        enlists |= _isEnlisting;
        var size = _shallHold;
        var fresh = text == _text && enlists == _isEnlisting && size == _size ? null : Build(_settings, text, enlists, size);
        var obsolete = fresh;
        var isDone = false;
        lock (_gate)
        {
            if (!_isDisposed && isWanted())
            {
                if (fresh is not null)
                {
                    (obsolete, _current, _text, _isEnlisting, _size) = (_current, fresh, text, enlists, size);
                }

                // Last: whoever sees that the path is known sees its data source.
                commit?.Invoke();
                isDone = true;
            }
        }

        obsolete?.Dispose();
        return isDone;
    }
}

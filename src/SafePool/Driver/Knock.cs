using Npgsql;
using SafePool.Driver.Hosts;
using SafePool.Options;
using SafePool.Reports;

namespace SafePool.Driver;

/// <summary>Finds out whether the server lets another connection in, before Npgsql is asked for one.</summary>
/// <remarks>
/// <para>
/// When an open fails Npgsql takes the server for gone: it ends everything that is idle, and what is in use when that is closed, however healthy. A pool that has connections would lose them
/// all to a full server, or to a firewall that lets nobody new in. So such a pool knocks first, with a connection outside of Npgsql's pool, which is closed at once.
/// </para>
/// <para>
/// It costs one more connect, once for a burst: an open that succeeded within the last second is proof enough, unless there is reason to doubt, and those who open at the same time share one knock. With several hosts each has
/// its own. The knock uses the place of the open that it precedes, so there is no socket beyond <c>MaxSize</c>.
/// </para>
/// </remarks>
internal sealed class Knock(PoolSettings settings, ServerDataSource server, TimeProvider clock) : IDisposable
{
    private static readonly TimeSpan _proofLasts = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan _exitTakes = TimeSpan.FromMilliseconds(30);

    private readonly Lock _gate = new();
    private long _provenAt = long.MinValue;
    private NpgsqlDataSource? _unpooled;
    private string? _text;
    private Task? _underWay;

    /// <summary>Whether it let somebody in a moment ago.</summary>
    public bool IsProven => Volatile.Read(ref _provenAt) is var at and not long.MinValue && clock.GetElapsedTime(at) < _proofLasts;

    /// <summary>A connection was opened just now.</summary>
    public void NoteOpened() => Volatile.Write(ref _provenAt, clock.GetTimestamp());

    /// <summary>Throws what an open would throw.</summary>
    public async ValueTask AskAsync(bool isDoubtful, bool blocking, CancellationToken cancellationToken)
    {
        if (!isDoubtful && IsProven)
        {
            return;
        }

        if (blocking)
        {
            OpenBlocking().Dispose();
            NoteOpened();
        }
        else
        {
            await Shared().WaitAsync(cancellationToken).ConfigureAwait(false);
        }

        if (isDoubtful)
        {
            await WaitForItsEndAsync(blocking, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>Knocks, and asks who answers. Throws what an open would throw; over soon after the token was cancelled, whatever the user's code does.</summary>
    public async Task<HostRole> AskRoleAsync(CancellationToken cancellationToken)
    {
        var connection = await OpenAsync(cancellationToken).ConfigureAwait(false);
        await using var disposal = connection.ConfigureAwait(false);
        var role = await RoleQuestion.AskAsync(connection, settings.TimeoutForEachHost, blocking: false, cancellationToken).ConfigureAwait(false);
        NoteOpened();
        return role;
    }

    /// <summary>Forgets what its data source has found out, or waits for in vain: the next knock has another.</summary>
    public void Renew()
    {
        NpgsqlDataSource? obsolete;
        lock (_gate)
        {
            (obsolete, _unpooled) = (_unpooled, null);
        }

        obsolete?.Dispose();
    }

    public void Dispose() => Volatile.Read(ref _unpooled)?.Dispose();

    /// <summary>The server may have had room for one: it must have let go of this one before the next.</summary>
    private static async ValueTask WaitForItsEndAsync(bool blocking, CancellationToken cancellationToken)
    {
        if (blocking)
        {
            using var never = new ManualResetEventSlim();
            never.Wait(_exitTakes, CancellationToken.None);
        }
        else
        {
            await Task.Delay(_exitTakes, TimeProvider.System, cancellationToken).ConfigureAwait(false);
        }
    }

    private Task Shared()
    {
        lock (_gate)
        {
            if (_underWay is not { IsCompleted: false })
            {
                _underWay = Task.Run(AskOnceAsync);

                // Those who asked may have gone by the time it fails.
                _ = _underWay.ContinueWith(
                    static failed => _ = failed.Exception, CancellationToken.None, TaskContinuationOptions.OnlyOnFaulted, TaskScheduler.Default);
            }

            return _underWay;
        }
    }

    private async Task AskOnceAsync()
    {
        using var patience = new CancellationTokenSource(settings.TimeoutForEachHost, clock);
        try
        {
            var connection = await OpenAsync(patience.Token).ConfigureAwait(false);
            await connection.DisposeAsync().ConfigureAwait(false);
            NoteOpened();
        }
        catch (OperationCanceledException late)
        {
            // It may be the data source that hangs: the first password of a periodic provider, for which all its opens wait.
            Renew();
            throw new NpgsqlException($"No connection was open within ConnectTimeout ({Sentences.Duration(settings.TimeoutForEachHost)}).", new TimeoutException(late.Message, late));
        }
    }

    private Task<NpgsqlConnection> OpenAsync(CancellationToken cancellationToken)
        => Stragglers.OpenAsync(() => OpenPresentAsync(cancellationToken), clock, cancellationToken);

    private async Task<NpgsqlConnection> OpenPresentAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            var source = Unpooled();
            try
            {
                return await source.OpenConnectionAsync(cancellationToken).ConfigureAwait(false);
            }
            catch (ObjectDisposedException) when (Volatile.Read(ref _unpooled) != source)
            {
                // Replaced in the meantime.
            }
        }
    }

    private NpgsqlConnection OpenBlocking()
    {
        while (true)
        {
            var source = Unpooled();
            try
            {
                return source.OpenConnection();
            }
            catch (ObjectDisposedException) when (Volatile.Read(ref _unpooled) != source)
            {
                // Replaced in the meantime.
            }
        }
    }

    private NpgsqlDataSource Unpooled()
    {
        var text = server.Text;
        lock (_gate)
        {
            if (_unpooled is { } known && _text == text)
            {
                return known;
            }
        }

        // Outside of the lock: it calls the user.
        var fresh = ServerDataSource.Build(settings, new NpgsqlConnectionStringBuilder(text) { Pooling = false }.ConnectionString, DataSourceUse.Knock);
        lock (_gate)
        {
            // One that is not used, or not any more, has nothing open and needs no end: its connections are their own.
            if (_unpooled is null || _text != text)
            {
                (_unpooled, _text) = (fresh, text);
            }

            return _unpooled;
        }
    }
}
